#include <algorithm>
#include <charconv>
#include <cstring>
#include <memory>

#include "formats/file_kind.h"
#include "formats/marian.h"
#include "formats/marian_model.h"
#include "formats/marian_options.h"
#include "formats/npy.h"
#include "formats/transpose.h"
#include "formats/yaml_file.h"
#include "support/error.h"
#include "support/mapped_file.h"

namespace outboard::formats {
namespace {

namespace fs = std::filesystem;

constexpr const char* kOptions = "special:model.yml";

std::vector<std::string> read_vocabulary(const fs::path& path) {
  const MappedFile file = map_part(path);
  try {
    if (path.extension() != ".yml" && path.extension() != ".yaml") {
      fail("found a vocabulary of another kind, expected a *.yml");
    }
    return parse_yaml_vocabulary(text_of(file.bytes()));
  } catch (Error& error) {
    error.add_context(path.string());
    throw;
  }
}

YamlNode read_options(const NpzFile& npz) {
  const NpzArray array = npz.read(kOptions);
  if (array.header.descr != "|i1" && array.header.descr != "|u1") {
    fail("array {}: found '{}', expected bytes", kOptions, array.header.descr);
  }
  std::string_view text = text_of(array.data());
  text = text.substr(0, text.find('\0'));  // Marian stores the end of its C string too
  try {
    return parse_yaml(text);
  } catch (Error& error) {
    error.add_context(kOptions);
    throw;
  }
}

struct Rename {
  std::string_view from;
  std::string_view to;
};

// Within a layer. Matrices are [inputs, outputs].
constexpr Rename kLayer[] = {
    {"self_Wq", "attn_q.weight"},
    {"self_Wk", "attn_k.weight"},
    {"self_Wv", "attn_v.weight"},
    {"self_Wo", "attn_o.weight"},
    {"self_bq", "attn_q.bias"},
    {"self_bk", "attn_k.bias"},
    {"self_bv", "attn_v.bias"},
    {"self_bo", "attn_o.bias"},
    {"self_Wo_ln_scale", "attn_norm.weight"},
    {"self_Wo_ln_bias", "attn_norm.bias"},
    {"context_Wq", "cross_attn_q.weight"},
    {"context_Wk", "cross_attn_k.weight"},
    {"context_Wv", "cross_attn_v.weight"},
    {"context_Wo", "cross_attn_o.weight"},
    {"context_bq", "cross_attn_q.bias"},
    {"context_bk", "cross_attn_k.bias"},
    {"context_bv", "cross_attn_v.bias"},
    {"context_bo", "cross_attn_o.bias"},
    {"context_Wo_ln_scale", "cross_attn_norm.weight"},
    {"context_Wo_ln_bias", "cross_attn_norm.bias"},
    {"ffn_W1", "ffn_up.weight"},
    {"ffn_b1", "ffn_up.bias"},
    {"ffn_W2", "ffn_down.weight"},
    {"ffn_b2", "ffn_down.bias"},
    {"ffn_ffn_ln_scale", "ffn_norm.weight"},
    {"ffn_ffn_ln_bias", "ffn_norm.bias"},
};

// "encoder_l1_ffn_W1" to "enc.blk.0.ffn_up.weight".
std::string gguf_name(std::string_view name, bool normalize_before) {
  const bool encoder = name.starts_with("encoder_");
  if (encoder || name.starts_with("decoder_")) {
    const char* side = encoder ? "enc" : "dec";
    std::string_view rest = name.substr(8);
    if (rest == "top_ln_scale") return fmt::format("{}.output_norm.weight", side);
    if (rest == "top_ln_bias") return fmt::format("{}.output_norm.bias", side);
    int64_t layer = 0;
    if (rest.starts_with('l')) rest.remove_prefix(1);
    const auto number = std::from_chars(rest.data(), rest.data() + rest.size(), layer);
    if (number.ec == std::errc() && layer > 0) {
      rest.remove_prefix(static_cast<size_t>(number.ptr - rest.data()));
      const bool norm = rest.find("_ln_") != std::string_view::npos;
      if (norm && normalize_before) {
        if (!rest.ends_with("_pre")) fail("expected a norm before the layer (_pre)");
        rest.remove_suffix(4);
      }
      for (const Rename& row : kLayer) {
        if (rest.starts_with('_') && rest.substr(1) == row.from) {
          return fmt::format("{}.blk.{}.{}", side, layer - 1, row.to);
        }
      }
    }
  }
  fail("no model of these options has this array");
}

// Reads the arrays into GGUF's shapes, with a row for <pad> at the end of the vocabulary's.
class ArrayReader {
 public:
  ArrayReader(Model& model, const NpzFile& npz, bool normalize_before)
      : model_(model), npz_(npz), normalize_before_(normalize_before) {}

  MarianWeights read() {
    for (const std::string& name : npz_.names()) {
      if (name == kOptions) continue;
      NpzArray array = npz_.read(name);
      try {
        add(name, std::move(array));
      } catch (Error& error) {
        error.add_context(fmt::format("array {}", name));
        throw;
      }
    }
    return std::move(weights_);
  }

 private:
  void add(const std::string& name, NpzArray array) {
    if (name == "Wemb" || name == "encoder_Wemb") {
      weights_.add("token_embd.weight", with_pad(matrix(name, std::move(array), false)));
    } else if (name == "decoder_Wemb") {
      weights_.add("dec.token_embd.weight", with_pad(matrix(name, std::move(array), false)));
    } else if (name == "decoder_ff_logit_out_W" || name == "decoder_ff_logit_out_Wt") {
      // The name with a t is of newer versions, which keep it as [outputs, inputs].
      weights_.add("output.weight", with_pad(matrix(name, std::move(array), !name.ends_with('t'))));
    } else if (name == "decoder_ff_logit_out_b") {
      MarianWeights::Source bias = matrix(name, std::move(array), true);
      weights_.add("output.bias", with_pad(std::move(bias)));
    } else {
      const std::string to = gguf_name(name, normalize_before_);
      const bool vector = !to.ends_with(".weight") || to.find("_norm.") != std::string::npos;
      MarianWeights::Source source = matrix(name, std::move(array), true);
      if (vector) flatten(source.tensor);
      weights_.add(to, source);
    }
  }

  // turn: the file has it the other way round.
  MarianWeights::Source matrix(const std::string& name, NpzArray array, bool turn) {
    const NpyArray& header = array.header;
    const bool half = header.descr == "<f2";
    if (!half && header.descr != "<f4") {
      fail("found '{}', expected floats ('<f4' or '<f2')", header.descr);
    }
    if (header.shape.size() != 2 || header.bytes == 0) {
      fail("found {} dimensions and {} bytes, expected 2 dimensions of at least 1",
           header.shape.size(), header.bytes);
    }
    Tensor tensor{name, half ? TensorType::F16 : TensorType::F32, header.shape, {}};
    auto file = std::make_shared<const std::vector<std::byte>>(std::move(array.file));
    tensor.data = std::span(*file).subspan(header.offset, header.bytes);
    // NumPy's order of Fortran is a matrix stored the other way round.
    const auto rows = static_cast<size_t>(header.shape[header.fortran_order ? 1 : 0]);
    const auto columns = static_cast<size_t>(header.shape[header.fortran_order ? 0 : 1]);
    if (turn) std::swap(tensor.shape[0], tensor.shape[1]);
    if (turn != header.fortran_order && rows > 1 && columns > 1) {
      const auto turned = transpose(tensor.data, rows, columns);
      tensor.data = *turned;
      model_.keep_alive(turned);
    } else {
      model_.keep_alive(file);
    }
    return {name, std::move(tensor)};
  }

  static void flatten(Tensor& tensor) {
    if (tensor.rows() != 1 && tensor.columns() != 1) {
      fail("found [{}, {}], expected a vector", tensor.shape[0], tensor.shape[1]);
    }
    tensor.shape = {tensor.elements()};
  }

  // One more row, of zeros; [tokens, 1] becomes a vector.
  MarianWeights::Source with_pad(MarianWeights::Source source) {
    Tensor& tensor = source.tensor;
    const size_t row = tensor.data.size() / static_cast<size_t>(tensor.shape[0]);
    auto bytes = std::make_shared<std::vector<std::byte>>(tensor.data.size() + row);
    std::memcpy(bytes->data(), tensor.data.data(), tensor.data.size());
    ++tensor.shape[0];
    if (source.name == "decoder_ff_logit_out_b") flatten(tensor);
    tensor.data = *bytes;
    model_.keep_alive(std::move(bytes));
    return source;
  }

  Model& model_;
  const NpzFile& npz_;
  bool normalize_before_;
  MarianWeights weights_;
};

std::vector<std::string> read_tokens(const MarianDecoder& decoder, Refusals& refusals) {
  std::vector<std::string> tokens = read_vocabulary(decoder.source_vocabulary);
  if (decoder.target_vocabulary != decoder.source_vocabulary) {
    refusals.check(read_vocabulary(decoder.target_vocabulary) == tokens,
                   fmt::format("the vocabularies {} and {} differ",
                               decoder.source_vocabulary.filename().string(),
                               decoder.target_vocabulary.filename().string()));
  }
  return tokens;
}

// The folder's SentencePiece models; older models of OPUS-MT have BPE's codes in their place.
fs::path spm_path(const fs::path& folder, const char* side) {
  const fs::path path = folder / fmt::format("{}.spm", side);
  if (!fs::exists(path) && fs::exists(folder / fmt::format("{}.bpe", side))) {
    throw Error(fmt::format("{}: found {}.bpe, expected {}.spm", folder.string(), side, side),
                "Models with BPE codes are not supported, only those with SentencePiece.");
  }
  return path;
}

}  // namespace

bool is_marian_npz(const fs::path& folder) {
  return fs::exists(folder / "decoder.yml") || fs::exists(folder / "model.npz");
}

Model open_marian_npz(const fs::path& folder) {
  Refusals refusals;
  const MarianDecoder decoder = read_marian_decoder(folder, refusals);
  const MappedFile source = map_part(spm_path(folder, "source"));
  const MappedFile target = map_part(spm_path(folder, "target"));
  const MappedFile file = map_part(decoder.model);
  const NpzFile npz(file.bytes());
  const YamlNode options = read_options(npz);
  MarianConfig config = read_marian_options(options, refusals);
  std::vector<std::string> tokens = read_tokens(decoder, refusals);
  refusals.done(decoder.model.filename().string());

  config.eos = marian_token_id(tokens, "</s>");
  config.unknown = marian_token_id(tokens, "<unk>");
  if (std::find(tokens.begin(), tokens.end(), "<pad>") != tokens.end()) {
    fail("vocabulary: found <pad>, which Marian's own lack");
  }
  config.padding = static_cast<int64_t>(tokens.size());
  tokens.emplace_back("<pad>");
  config.start = config.padding;
  config.never = {config.padding};
  config.beams = decoder.beams;
  config.length_penalty = decoder.length_penalty;

  Model model;
  model.path = folder;
  MarianWeights weights = ArrayReader(model, npz, config.normalize_before).read();
  check_marian_ties(options, weights);
  finish_marian(model, config, {tokens, source.bytes(), target.bytes()}, std::move(weights));
  return model;
}

}  // namespace outboard::formats
