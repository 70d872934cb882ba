#include "formats/marian_options.h"

#include "formats/file_kind.h"
#include "support/error.h"
#include "support/mapped_file.h"

namespace outboard::formats {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> file_names(const YamlNode& decoder, const char* key) {
  const YamlNode* list = decoder.find(key);
  if (list == nullptr || list->kind != YamlNode::Kind::kSequence) {
    fail("{}: expected a list of files", key);
  }
  std::vector<std::string> names;
  for (const YamlNode& item : list->items) {
    const fs::path path(item.scalar);
    if (path.empty() || path.filename() != path || item.scalar == "." || item.scalar == "..") {
      fail("{}: found \"{}\", expected a file name without a folder", key,
           item.scalar.substr(0, 100));
    }
    names.push_back(item.scalar);
  }
  return names;
}

// Options of marian-decoder that change what is chosen, with the values that do not.
void check_decoder_options(const YamlNode& decoder, Refusals& refusals) {
  const double word_penalty = yaml_number(decoder, "word-penalty").value_or(0);
  refusals.check(word_penalty == 0, fmt::format("word-penalty is {}", word_penalty));
  refusals.check(!yaml_bool(decoder, "allow-special").value_or(false), "allow-special is true");
  refusals.check(!yaml_bool(decoder, "force-decode").value_or(false), "force-decode is true");
  for (const char* key : {"shortlist", "output-sampling"}) {
    const YamlNode* value = decoder.find(key);
    const bool empty = value == nullptr || value->kind == YamlNode::Kind::kNull ||
                       (value->kind == YamlNode::Kind::kSequence && value->items.empty()) ||
                       (value->kind == YamlNode::Kind::kScalar &&
                        (value->scalar.empty() || value->scalar == "false"));
    refusals.check(empty, fmt::format("{} is set", key));
  }
}

int64_t needed_int(const YamlNode& options, const char* key) {
  const auto value = yaml_int(options, key);
  if (!value) fail("{}: it is missing, expected an integer", key);
  return *value;
}

std::string quoted(const std::string& text) { return text.empty() ? "''" : text; }

// Where dropout (d), addition (a) and normalization (n) stand.
void read_norms(const YamlNode& options, MarianConfig& config, Refusals& refusals) {
  const std::string before = yaml_string(options, "transformer-preprocess").value_or("");
  const std::string after = yaml_string(options, "transformer-postprocess").value_or("dan");
  const std::string top = yaml_string(options, "transformer-postprocess-top").value_or("");
  config.normalize_before = before == "n";
  config.final_norms = config.normalize_before;
  const bool known = config.normalize_before ? after == "da" && top == "n"
                                             : before.empty() && after == "dan" && top.empty();
  refusals.check(known,
                 fmt::format("transformer-preprocess, -postprocess and -postprocess-top are {}, {} "
                             "and {}, expected '', dan and '' (or n, da and n)",
                             quoted(before), quoted(after), quoted(top)));
  const std::string embedding = yaml_string(options, "transformer-postprocess-emb").value_or("d");
  refusals.check(embedding.empty() || embedding == "d",
                 fmt::format("transformer-postprocess-emb is {}, expected d", embedding));
}

void check_options(const YamlNode& options, Refusals& refusals) {
  const auto is = [&](const char* key, std::string_view expected) {
    const std::string found = yaml_string(options, key).value_or(std::string(expected));
    refusals.check(found == expected, fmt::format("{} is {}, expected {}", key, found, expected));
  };
  is("type", "transformer");
  is("transformer-decoder-autoreg", "self-attention");
  is("transformer-ffn-depth", "2");
  for (const char* key :
       {"transformer-no-projection", "transformer-train-positions",
        "transformer-train-position-embeddings", "transformer-rnn-projection", "transformer-pool",
        "transformer-no-bias", "transformer-no-affine", "right-left", "ulr"}) {
    is(key, "false");
  }
  // 0: as the encoder has it.
  is("transformer-decoder-dim-ffn", "0");
  is("transformer-decoder-ffn-depth", "0");
  is("lemma-dim-emb", "0");
  const YamlNode* tied = options.find("transformer-tied-layers");
  refusals.check(tied == nullptr || tied->items.empty(), "transformer-tied-layers is set");
  const YamlNode* types = options.find("input-types");
  for (size_t i = 0; types != nullptr && i < types->items.size(); ++i) {
    const std::string& type = types->items[i].scalar;
    refusals.check(type == "sequence", fmt::format("input-types has {}, expected sequence", type));
  }
}

}  // namespace

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

MarianDecoder read_marian_decoder(const fs::path& folder, Refusals& refusals) {
  const fs::path path = folder / "decoder.yml";
  if (!fs::exists(path)) {
    const fs::path vocabulary = folder / "vocab.yml";
    return {folder / "model.npz", vocabulary, vocabulary, std::nullopt, std::nullopt};
  }
  try {
    const MappedFile file = map_part(path);
    const YamlNode yaml = parse_yaml(text_of(file.bytes()));
    const std::vector<std::string> models = file_names(yaml, "models");
    if (models.size() != 1) {
      fail("models: found {}, expected one: ensembles are not supported", models.size());
    }
    const std::vector<std::string> vocabularies = file_names(yaml, "vocabs");
    if (vocabularies.size() != 2) {
      fail("vocabs: found {}, expected two", vocabularies.size());
    }
    check_decoder_options(yaml, refusals);
    return {folder / models[0], folder / vocabularies[0], folder / vocabularies[1],
            yaml_int(yaml, "beam-size"),
            // Marian divides a sentence's score by its length to this power.
            yaml_number(yaml, "normalize").value_or(0)};
  } catch (Error& error) {
    if (error.message().find(path.string()) == std::string::npos) error.add_context(path.string());
    throw;
  }
}

MarianConfig read_marian_options(const YamlNode& options, Refusals& refusals) {
  if (options.kind != YamlNode::Kind::kMap) fail("expected a map of options");
  MarianConfig config;
  check_options(options, refusals);
  read_norms(options, config, refusals);
  config.width = needed_int(options, "dim-emb");
  const int64_t heads = needed_int(options, "transformer-heads");
  const int64_t feed_forward = needed_int(options, "transformer-dim-ffn");
  config.encoder = {needed_int(options, "enc-depth"), heads, feed_forward};
  config.decoder = {needed_int(options, "dec-depth"), heads, feed_forward};
  config.activation = yaml_string(options, "transformer-ffn-activation").value_or("swish");
  // Marian's gelu is x * sigmoid(1.702 x), not the one by erf.
  refusals.check(
      config.activation == "swish" || config.activation == "relu",
      fmt::format("transformer-ffn-activation is {}, expected swish or relu", config.activation));
  return config;
}

void check_marian_ties(const YamlNode& options, const MarianWeights& weights) {
  const bool all = yaml_bool(options, "tied-embeddings-all").value_or(false);
  const bool tied = all || yaml_bool(options, "tied-embeddings").value_or(false);
  if (tied == (weights.find("output.weight") != nullptr)) {
    fail("array decoder_ff_logit_out_W: {}, and tied-embeddings is {}",
         tied ? "found it" : "it is missing", tied);
  }
  const bool shared = all || yaml_bool(options, "tied-embeddings-src").value_or(false);
  if (shared == (weights.find("dec.token_embd.weight") != nullptr)) {
    fail("array decoder_Wemb: {}, and tied-embeddings-src is {}",
         shared ? "found it" : "it is missing", shared);
  }
}

}  // namespace outboard::formats
