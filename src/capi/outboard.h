/* Outboard for programs in other languages than C++: load a model, ask it, get text.
 *
 *   outboard_model* model = outboard_load("smollm2", NULL, 0);
 *   outboard_request request;
 *   outboard_request_init(model, &request);
 *   outboard_message message = {"user", "Why is the sky blue?"};
 *   request.messages = &message;
 *   request.message_count = 1;
 *   outboard_generate(model, &request, print, NULL, NULL);
 *   outboard_free(model);
 *
 * What fails returns NULL or a negative number, and outboard_error() says why. Texts are UTF-8.
 * Nothing here ends the program. A model is used by one thread at a time; several models by several
 * threads. */
#ifndef OUTBOARD_H
#define OUTBOARD_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define OUTBOARD_API __attribute__((visibility("default")))

/* A model on a device, with the conversations that it remembers the beginnings of. */
typedef struct outboard_model outboard_model;

/* Of this thread's last call that failed: what was tried, what came back, what can be done. Valid
 * until the thread's next call here. Never NULL. */
OUTBOARD_API const char* outboard_error(void);
OUTBOARD_API const char* outboard_version(void);

/* model: a GGUF file, a Hugging Face folder, or a name that `outboard pull` has got.
 * device: "cpu", "amd", "sim" and what else `--device` takes; NULL: a card if there is one, else
 * the processor. context: tokens of prompt and answer together; 0: as many as fit. NULL: it failed.
 */
OUTBOARD_API outboard_model* outboard_load(const char* model, const char* device, int context);
/* NULL is harmless. */
OUTBOARD_API void outboard_free(outboard_model* model);

/* "CPU, 2 threads, avx512"; valid as long as the model. */
OUTBOARD_API const char* outboard_device(const outboard_model* model);
OUTBOARD_API int outboard_context(const outboard_model* model);

typedef struct {
  const char* role; /* "system", "user", "assistant" */
  const char* content;
} outboard_message;

/* Set by outboard_request_init(), which all requests begin with: fields may be added. */
typedef struct {
  /* One of these three: a conversation for the model's chat template, a text to go on with, or
   * tokens of one. */
  const outboard_message* messages;
  size_t message_count;
  const char* prompt;
  const int32_t* tokens;
  size_t token_count;

  int max_tokens; /* -1: until the model ends or the context is full */
  /* The model's own settings, or Outboard's where its file has none. temperature 0: the likeliest
   * token always. */
  float temperature;
  int top_k;
  float top_p;
  float min_p;
  float repeat_penalty;
  int64_t seed;            /* -1: another one each time */
  const char* const* stop; /* the answer ends before the first of these */
  size_t stop_count;
  /* The answer is JSON that this schema allows, or a text of this grammar (GBNF); NULL: any. */
  const char* json_schema;
  const char* grammar;
} outboard_request;

OUTBOARD_API void outboard_request_init(const outboard_model* model, outboard_request* request);

/* Whole characters of the answer as it grows, and the null byte behind them not counted in `bytes`.
 * Not 0: that is enough. */
typedef int (*outboard_text_function)(const char* text, size_t bytes, void* user);

typedef struct {
  const char* finish; /* "stop", "stop_string", "length", "context_full", "cancelled"; static */
  int prompt_tokens;
  int cached_tokens; /* of the prompt, not computed again */
  int answer_tokens;
  double prompt_seconds;
  double answer_seconds;
} outboard_result;

/* on_text and result may be NULL. 0: it went well. */
OUTBOARD_API int outboard_generate(outboard_model* model, const outboard_request* request,
                                   outboard_text_function on_text, void* user,
                                   outboard_result* result);

/* Tokens of a text of so many bytes, with those that the model wants in front of a text, and
 * markers
 * (`<|im_end|>`) as text. Writes at most `capacity` of them; returns how many there are. */
OUTBOARD_API int64_t outboard_tokenize(const outboard_model* model, const char* text, size_t bytes,
                                       int32_t* tokens, size_t capacity);
/* The text of tokens. Writes at most `capacity` bytes, and no null byte; returns how many there
 * are. */
OUTBOARD_API int64_t outboard_detokenize(const outboard_model* model, const int32_t* tokens,
                                         size_t token_count, char* text, size_t capacity);

#ifdef __cplusplus
}
#endif

#endif
