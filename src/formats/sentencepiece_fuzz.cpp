// Any bytes: a SentencePiece model is walked or refused.
#include "formats/hf_vocabulary.h"
#include "support/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace outboard;
  const std::string_view file(reinterpret_cast<const char*>(data), size);
  try {
    formats::check_sentencepiece(file);
  } catch (const Error&) {  // what bad files are for
  }
  try {
    formats::read_sentencepiece_spec(file);
  } catch (const Error&) {
  }
  try {
    formats::Vocabulary vocabulary(16);
    bool unigram = false;
    formats::read_sentencepiece(file, vocabulary, unigram);
  } catch (const Error&) {
  }
  return 0;
}
