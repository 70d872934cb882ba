// outboard inspect: what is in a model file.
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/model_output.h"
#include "cli/options.h"
#include "engine/engine.h"
#include "hub/hub.h"
#include "machine/open.h"
#include "models/models.h"
#include "program/cost.h"
#include "simulator/card/card_model.h"
#include "support/error.h"
#include "support/progress.h"

namespace outboard::cli {
namespace {

using Json = nlohmann::ordered_json;

struct InspectOptions {
  std::string model;
  bool json = false;
  bool program = false;
};

Json to_json(const formats::MetadataValue& value);

Json to_json(const formats::MetadataArray& array) {
  return std::visit(
      [](const auto& values) {
        Json list = Json::array();
        for (const auto& value : values) {
          if constexpr (std::is_same_v<std::decay_t<decltype(value)>, formats::MetadataArray>) {
            list.push_back(to_json(value));
          } else {
            list.push_back(value);
          }
        }
        return list;
      },
      array.values);
}

Json to_json(const formats::MetadataValue& value) {
  return std::visit(
      [](const auto& v) -> Json {
        if constexpr (std::is_same_v<std::decay_t<decltype(v)>, formats::MetadataArray>) {
          return to_json(v);
        } else {
          return v;
        }
      },
      value);
}

// One line: long texts and arrays are cut.
std::string preview(const formats::MetadataValue& value) {
  constexpr size_t kMost = 100;
  const auto* array = std::get_if<formats::MetadataArray>(&value);
  std::string text;
  if (array != nullptr && array->size() > 6) {
    text = fmt::format("{} entries", array->size());
  } else {
    text = to_json(value).dump(-1, ' ', false, Json::error_handler_t::replace);
  }
  if (text.size() > kMost) {
    size_t cut = kMost;
    while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xC0U) == 0x80U) --cut;
    text = fmt::format("{}... ({} characters)", text.substr(0, cut), text.size());
  }
  return text;
}

// Memory by context length: what a sequence keeps. Powers of two up to what the model can take.
std::vector<std::pair<int64_t, uint64_t>> memory_table(const program::Program& program) {
  std::vector<std::pair<int64_t, uint64_t>> table;
  for (int64_t context = 1024; context < program.context_length; context *= 4)
    table.emplace_back(context, engine::kv_bytes(program, context) + program.slot_bytes());
  table.emplace_back(program.context_length,
                     engine::kv_bytes(program, program.context_length) + program.slot_bytes());
  return table;
}

// What --ctx would be without being asked for: here, and on a card.
struct Fit {
  std::string device;
  uint64_t room;  // bytes for all
  int context;    // 0: it does not fit
};
std::vector<Fit> fits(const formats::Model& model, const program::Program& program) {
  std::vector<Fit> all;
  const auto add = [&](std::string device, uint64_t room, uint64_t with_host) {
    const uint64_t weights = model.tensor_bytes() - with_host;
    const uint64_t left = room - std::min(room, weights);
    all.push_back(
        {std::move(device), room, engine::fitting_context(program, std::max<uint64_t>(left, 1))});
  };
  if (const uint64_t room = machine::room_on("cpu"); room > 0)
    add("this machine's processor", room, 0);
  for (const char* card : {"sim:xt", "sim"})
    add(std::string(simulator::card::simulated_card(card)->title), machine::room_on(card),
        program::host_table_bytes(program));
  return all;
}

// A file of a family that Outboard can't run is still worth showing.
std::optional<program::Program> try_build(const formats::Model& model, std::string& why,
                                          std::vector<std::string>& unknown) {
  try {
    return models::build_program(model, &unknown);
  } catch (const Error& e) {
    why = e.hint().empty() ? e.message() : e.message() + " " + e.hint();
    return std::nullopt;
  }
}

void print_json(const formats::Model& model, const std::optional<program::Program>& program,
                const std::string& why, const std::vector<std::string>& unknown) {
  Json json;
  json["path"] = model.path.string();
  for (const auto& [key, value] : model.metadata.entries()) json["metadata"][key] = to_json(value);
  json["tensors"] = Json::array();
  for (const formats::Tensor& tensor : model.tensors())
    json["tensors"].push_back({{"name", tensor.name},
                               {"type", formats::type_info(tensor.type).name},
                               {"shape", tensor.shape},
                               {"bytes", tensor.data.size()}});
  json["tensor_bytes"] = model.tensor_bytes();
  if (program) {
    json["parameters"] = program::parameters(*program);
    json["weight_bytes_per_token"] = program::weight_bytes_per_token(*program);
    json["host_table_bytes"] = program::host_table_bytes(*program);
    for (const auto& [context, bytes] : memory_table(*program))
      json["memory"].push_back({{"context", context},
                                {"kv_bytes", bytes},
                                {"total_bytes", bytes + model.tensor_bytes()}});
    for (const Fit& fit : fits(model, *program))
      json["fits"].push_back(
          {{"device", fit.device}, {"room_bytes", fit.room}, {"context", fit.context}});
  } else {
    json["not_runnable"] = why;
  }
  json["unknown"] = unknown;
  print(json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

// What it needs and where it fits.
std::string summary(const formats::Model& model, const std::optional<program::Program>& program,
                    const std::string& why, const std::vector<std::string>& unknown) {
  std::string out;
  if (program) {
    out += fmt::format("\n{:.1f} million parameters; a token reads {} of weights\n",
                       static_cast<double>(program::parameters(*program)) / 1e6,
                       format_bytes(program::weight_bytes_per_token(*program)));
    if (const size_t bytes = program::host_table_bytes(*program); bytes > 0)
      out += fmt::format("of these weights {} stay with the host where a card computes\n",
                         format_bytes(bytes));
    out += "\nMemory by context length\n";
    for (const auto& [context, bytes] : memory_table(*program))
      out += fmt::format("  {:>8} tokens: {:>9} of keys and values, {:>9} with the weights\n",
                         context, format_bytes(bytes), format_bytes(bytes + model.tensor_bytes()));
    for (const Fit& fit : fits(model, *program))
      out += fit.context == 0 ? fmt::format("  {} ({}): the model does not fit\n", fit.device,
                                            format_bytes(fit.room))
                              : fmt::format("  {} ({}): a context of {} fits\n", fit.device,
                                            format_bytes(fit.room), fit.context);
  } else {
    out += fmt::format("\nOutboard can't run this model: {}\n", why);
  }
  if (!unknown.empty())
    out += fmt::format("\nThe model asks for what Outboard does not know:\n  {}\n",
                       fmt::join(unknown, "\n  "));
  return out;
}

void print_text(const formats::Model& model, const std::optional<program::Program>& program,
                const std::string& why, const std::vector<std::string>& unknown) {
  std::string out = fmt::format("{}\n\nMetadata\n", model.path.string());
  for (const auto& [key, value] : model.metadata.entries())
    out += fmt::format("  {:<44} {}\n", key, preview(value));
  out += fmt::format("\nTensors ({}, {})\n", model.tensors().size(),
                     format_bytes(model.tensor_bytes()));
  for (const formats::Tensor& tensor : model.tensors())
    out += fmt::format("  {:<36} {:<8} {:>10}  [{}]\n", tensor.name,
                       formats::type_info(tensor.type).name, format_bytes(tensor.data.size()),
                       fmt::join(tensor.shape, ", "));
  print(out + summary(model, program, why, unknown));
}

// The entries of the metadata that people ask for, in words.
void show(const std::string& name) {
  const formats::Model model = models::open_model(hub::find_model(name));
  std::string why;
  std::vector<std::string> unknown = model.unknown;
  const std::optional<program::Program> program = try_build(model, why, unknown);
  engine::add_unheard(model.metadata, unknown);
  const formats::Metadata& metadata = model.metadata;
  const std::string family = metadata.get_string("general.architecture", "unknown");
  std::string out = fmt::format("{}\n\n", model.path.string());
  const auto line = [&](std::string_view what, const std::string& value) {
    if (!value.empty()) out += fmt::format("  {:<16} {}\n", what, value);
  };
  line("name", metadata.get_string("general.name", ""));
  line("family", family);
  line("type", type_of_model(model));
  line("size", format_bytes(model.tensor_bytes()));
  const auto number = [&](std::string_view what, const std::string& key) {
    if (const int64_t value = metadata.get_int(family + "." + key, 0); value > 0)
      line(what, fmt::format("{}", value));
  };
  number("context", "context_length");
  number("layers", "block_count");
  number("width", "embedding_length");
  line("chat template", metadata.contains("tokenizer.chat_template") ? "yes" : "no: a base model");
  line("licence", metadata.get_string("general.license", ""));
  print(out + summary(model, program, why, unknown));
}

void inspect(const InspectOptions& options) {
  if (options.json && options.program)
    throw Error("inspect: --program has no meaning with --json", "Leave one of them out.");
  const formats::Model model = models::open_model(hub::find_model(options.model));
  if (options.program) return print(program::to_string(models::build_program(model)));
  std::string why;
  std::vector<std::string> unknown = model.unknown;
  const std::optional<program::Program> program = try_build(model, why, unknown);
  engine::add_unheard(model.metadata, unknown);
  options.json ? print_json(model, program, why, unknown)
               : print_text(model, program, why, unknown);
}

}  // namespace

void add_show(CLI::App& app) {
  auto name = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("show", "Say in short what a model is and where it fits");
  command->add_option("MODEL", *name, "model file, folder or pulled name")->required();
  command->footer(
      "`outboard inspect` has all metadata and tensors.\nExample: outboard show smollm2");
  command->callback([name] { show(*name); });
}

void add_inspect(CLI::App& app) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* command = app.add_subcommand("inspect", "Show metadata, tensors and memory of a model");
  command->add_option("FILE", options->model, "model file, folder or pulled name")->required();
  command->add_flag("--json", options->json, "everything as JSON");
  command->add_flag("--program", options->program, "the forward pass as text");
  command->footer("Example: outboard inspect smollm2 --program | head -20");
  command->callback([options] { inspect(*options); });
}

}  // namespace outboard::cli
