/* A C program that uses Outboard: cc ask.c $(pkg-config --cflags --libs outboard-c) */
#include <stdio.h>

#include "outboard.h"

static int print(const char* text, size_t bytes, void* user) {
  (void)bytes, (void)user;
  fputs(text, stdout);
  return fflush(stdout) != 0; /* not 0: nobody reads it any more */
}

int main(int count, char** arguments) {
  outboard_model* model = outboard_load(count > 1 ? arguments[1] : "smollm2", NULL, 2048);
  if (model == NULL) {
    fprintf(stderr, "%s\n", outboard_error());
    return 1;
  }
  outboard_message message = {"user", "Why is the sky blue?"};
  outboard_request request;
  outboard_request_init(model, &request);
  request.messages = &message;
  request.message_count = 1;
  request.temperature = 0;
  request.max_tokens = 48;
  outboard_result result;
  const int failed = outboard_generate(model, &request, print, NULL, &result);
  if (failed != 0) {
    fprintf(stderr, "%s\n", outboard_error());
  } else {
    printf("\n[%s: %d tokens, %s]\n", outboard_device(model), result.answer_tokens, result.finish);
  }
  outboard_free(model);
  return failed != 0;
}
