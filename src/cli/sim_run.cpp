// outboard sim run, outboard sim disasm: one code object on the simulated compute units.
#include <algorithm>
#include <charconv>
#include <cstring>
#include <memory>
#include <span>

#include "cli/options.h"
#include "cli/recording.h"
#include "cli/sim.h"
#include "formats/quantize.h"
#include "hardware/amd/code_object.h"
#include "hardware/amd/rdna3/instruction.h"
#include "simulator/compute/host_memory.h"
#include "simulator/compute/launch.h"
#include "support/aligned_buffer.h"
#include "support/error.h"
#include "support/mapped_file.h"
#include "support/output_file.h"

namespace outboard::cli {
namespace {

namespace compute = simulator::compute;

constexpr size_t kPacketBytes = 64;  // of an HSA dispatch packet

struct RunOptions {
  std::string file;
  std::string kernel;
  std::string grid = "1";
  std::string block = "32";
  std::vector<std::string> arguments;
  std::string lds = "0";
  std::string strict = "on";
  int threads = 0;
  uint64_t limit = 0;
  bool json = false;
};

// A kernel argument: a value, or a buffer with what happens to it afterwards.
struct Argument {
  std::array<std::byte, 8> value{};
  uint32_t bytes = 8;
  std::unique_ptr<AlignedBuffer> buffer;  // null: a value
  std::string write_to;
};

std::array<uint32_t, 3> parse_sizes(const std::string& text, std::string_view what) {
  std::array<uint32_t, 3> out{1, 1, 1};
  size_t axis = 0;
  const char* at = text.data();
  const char* end = at + text.size();
  while (axis < 3) {
    const auto [next, error] = std::from_chars(at, end, out[axis]);
    if (error != std::errc() || out[axis] == 0) break;
    ++axis;
    if (next == end) return out;
    if (*next != ',') break;
    at = next + 1;
  }
  throw Error(fmt::format("{} \"{}\": expected up to three numbers from 1", what, text),
              "For example 64,2,1.");
}

template <typename T>
Argument value_argument(T value) {
  Argument out;
  out.bytes = sizeof(T);
  std::memcpy(out.value.data(), &value, sizeof(T));
  return out;
}

uint64_t address_of(const AlignedBuffer& buffer) {
  return reinterpret_cast<uint64_t>(buffer.data());
}

Argument buffer_argument(std::unique_ptr<AlignedBuffer> buffer, std::string write_to) {
  Argument out = value_argument(address_of(*buffer));
  out.buffer = std::move(buffer);
  out.write_to = std::move(write_to);
  return out;
}

std::unique_ptr<AlignedBuffer> buffer_of(std::span<const std::byte> bytes) {
  auto buffer = std::make_unique<AlignedBuffer>(bytes.size());
  std::copy(bytes.begin(), bytes.end(), buffer->data());
  return buffer;
}

template <typename T>
T parse_number(const std::string& text, const std::string& argument) {
  try {
    size_t end = 0;
    T value{};
    if constexpr (std::is_floating_point_v<T>) {
      value = static_cast<T>(std::stod(text, &end));
    } else if constexpr (std::is_signed_v<T>) {
      value = static_cast<T>(std::stoll(text, &end, 0));
    } else {
      value = static_cast<T>(std::stoull(text, &end, 0));
    }
    if (end == text.size()) return value;
  } catch (const std::exception&) {  // no number, or too large: reported below
  }
  fail("--arg {}: \"{}\" is no such number", argument, text);
}

Argument parse_argument(const std::string& text) {
  const size_t colon = text.find(':');
  const std::string kind = text.substr(0, colon);
  const std::string rest = colon == std::string::npos ? "" : text.substr(colon + 1);
  if (kind == "i32") return value_argument(parse_number<int32_t>(rest, text));
  if (kind == "u32") return value_argument(parse_number<uint32_t>(rest, text));
  if (kind == "i64") return value_argument(parse_number<int64_t>(rest, text));
  if (kind == "u64") return value_argument(parse_number<uint64_t>(rest, text));
  if (kind == "f32") return value_argument(parse_number<float>(rest, text));
  if (kind == "f64") return value_argument(parse_number<double>(rest, text));
  if (kind == "f16") return value_argument(formats::float_to_half(parse_number<float>(rest, text)));
  if (kind == "zeros")
    return buffer_argument(std::make_unique<AlignedBuffer>(parse_bytes(rest)), "");
  if (kind == "in") {
    const MappedFile file(rest);
    return buffer_argument(buffer_of(file.bytes()), "");
  }
  if (kind == "inout") {  // the one case where a file is read and written: that is what is asked
    check_writable(rest, "--arg " + text);
    const std::string bytes = read_whole(rest);
    if (bytes.empty()) fail("--arg {}: the file is empty", text);
    return buffer_argument(buffer_of(std::as_bytes(std::span(bytes))), rest);
  }
  if (kind == "out") {
    const size_t split = rest.rfind(':');
    if (split != std::string::npos) {
      check_writable(rest.substr(0, split), "--arg " + text);
      return buffer_argument(std::make_unique<AlignedBuffer>(parse_bytes(rest.substr(split + 1))),
                             rest.substr(0, split));
    }
  }
  throw Error(fmt::format("--arg {}: unknown kind", text),
              "Kinds: i32:N u32:N i64:N u64:N f16:X f32:X f64:X, zeros:BYTES, in:FILE, inout:FILE, "
              "out:FILE:BYTES.");
}

// Values lie where the metadata says, or one behind the other in their own alignment.
void place_arguments(const hardware::amd::Kernel& kernel, const std::vector<Argument>& arguments,
                     std::span<std::byte> kernargs) {
  std::vector<const hardware::amd::KernelArgument*> slots;
  for (const hardware::amd::KernelArgument& slot : kernel.arguments) {
    if (!slot.kind.starts_with("hidden_")) slots.push_back(&slot);
  }
  if (!kernel.arguments.empty() && slots.size() != arguments.size()) {
    std::string wants;
    for (const auto* slot : slots)
      wants += fmt::format("\n  {} ({}, {} bytes)", slot->name, slot->kind, slot->size);
    throw Error(fmt::format("{} wants {} arguments, {} were given", kernel.name, slots.size(),
                            arguments.size()),
                "It wants:" + wants);
  }
  uint64_t next = 0;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const Argument& argument = arguments[i];
    next = (next + argument.bytes - 1) / argument.bytes * argument.bytes;
    const uint64_t offset = slots.empty() ? next : slots[i]->offset;
    if (!slots.empty() && slots[i]->size != argument.bytes) {
      fail("argument {} ({}) has {} bytes, {} were given", i + 1, slots[i]->name, slots[i]->size,
           argument.bytes);
    }
    if (offset + argument.bytes > kernargs.size()) {
      fail("{} has {} bytes of arguments; argument {} does not fit", kernel.name, kernargs.size(),
           i + 1);
    }
    std::memcpy(&kernargs[offset], argument.value.data(), argument.bytes);
    next = offset + argument.bytes;
  }
}

void write_file(const std::string& path, std::span<const std::byte> bytes) {
  OutputFile out(path);
  out.write(bytes);
  out.finish();
}

void run(const RunOptions& options) {
  const MappedFile file(options.file);
  const hardware::amd::CodeObject object =
      hardware::amd::CodeObject::parse(file.bytes(), options.file);
  const hardware::amd::Kernel& kernel = object.kernel(options.kernel);
  compute::HostMemory memory;
  const AlignedBuffer image(object.image.size());
  std::copy(object.image.begin(), object.image.end(), image.data());
  memory.add_code(image.data(), image.size());
  std::vector<Argument> arguments;
  for (const std::string& text : options.arguments) {
    arguments.push_back(parse_argument(text));
    const AlignedBuffer* buffer = arguments.back().buffer.get();
    if (buffer != nullptr) memory.add(buffer->data(), buffer->size(), true);
  }
  // A byte more, since nothing cannot be mapped.
  const AlignedBuffer kernarg_memory(kernel.kernarg_bytes + 1U), packet(kPacketBytes);
  const std::span<std::byte> kernargs(kernarg_memory.data(), kernel.kernarg_bytes);
  place_arguments(kernel, arguments, kernargs);
  memory.add(kernargs.data(), kernargs.size(), false);
  memory.add(packet.data(), packet.size(), false);

  compute::Launch launch;
  launch.image_address = address_of(image);
  launch.workgroups = parse_sizes(options.grid, "--grid");
  launch.workgroup_size = parse_sizes(options.block, "--block");
  launch.kernarg_address = address_of(kernarg_memory);
  launch.dispatch_packet_address = address_of(packet);
  launch.dynamic_lds_bytes = static_cast<uint32_t>(parse_bytes(options.lds));
  compute::fill_hidden_arguments(kernel, launch, kernargs);
  compute::fill_dispatch_packet(kernel, launch, {packet.data(), packet.size()});
  compute::Dispatch dispatch = compute::make_dispatch(kernel, launch);
  const AlignedBuffer scratch = memory.give_scratch(dispatch, kernel.scratch_bytes);

  compute::Options unit_options;
  unit_options.threads = static_cast<unsigned>(options.threads);
  unit_options.strict = options.strict == "on";
  unit_options.instruction_limit = options.limit;
  compute::ComputeUnits units(memory, unit_options);
  const compute::Result result = units.run(dispatch);

  if (options.json) {
    nlohmann::ordered_json out = compute_json(units.counters());
    out["violation_count"] = units.violation_count();
    for (const auto& violation : units.violations()) {
      out["violations"].push_back({{"rule", violation.rule}, {"text", violation.text()}});
    }
    print(out.dump(2) + "\n");
  } else {
    print(compute_json(units.counters()).dump(2) + "\n");
    for (const auto& violation : units.violations())
      print("broken rule: " + violation.text() + "\n");
  }
  if (result.stop != compute::Stop::kDone) throw Error(result.message);
  for (const Argument& argument : arguments) {
    if (!argument.write_to.empty())
      write_file(argument.write_to, {argument.buffer->data(), argument.buffer->size()});
  }
  if (units.violation_count() != 0) {
    throw Error(fmt::format("{} rules of the hardware were broken", units.violation_count()),
                "They are listed above; --strict off runs without looking.");
  }
}

void disassemble_range(const hardware::amd::CodeObject& object,
                       const hardware::amd::Kernel& kernel) {
  uint64_t at = kernel.entry;
  const uint64_t end =
      kernel.code_bytes != 0 ? kernel.entry + kernel.code_bytes : object.image.size();
  print(fmt::format("{}:\n", kernel.name));
  while (at + 4 <= end) {
    std::array<uint32_t, 3> words{};
    const size_t left = std::min<uint64_t>((end - at) / 4, words.size());
    std::memcpy(words.data(), &object.image[at], left * 4);
    hardware::amd::rdna3::Instruction instruction;
    const bool good = hardware::amd::rdna3::decode(std::span(words).first(left), instruction);
    std::string hex;
    for (int w = 0; w < instruction.size / 4; ++w)
      hex += fmt::format(" {:08X}", words[static_cast<size_t>(w)]);
    print(fmt::format(
        "  {:06x}:{:27}  {}\n", at, hex,
        good ? hardware::amd::rdna3::disassemble(instruction, at) : ".long (no instruction)"));
    at += instruction.size;
  }
}

}  // namespace

void add_sim_run(CLI::App& sim) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* command =
      sim.add_subcommand("run", "Runs a kernel of a code object and prints its counters");
  command
      ->add_option("FILE", options->file, "Code object for gfx1100 (clang --no-gpu-bundle-output)")
      ->required();
  command->add_option("--kernel", options->kernel, "Which kernel, if there are several");
  command->add_option("--grid", options->grid, "Workgroups: X or X,Y,Z (default 1)");
  command->add_option("--block", options->block, "Threads of a workgroup: X or X,Y,Z (default 32)");
  command->add_option(
      "--arg", options->arguments,
      "An argument, in order: i32:N u32:N i64:N u64:N f16:X f32:X f64:X, zeros:BYTES, in:FILE, "
      "inout:FILE, out:FILE:BYTES");
  command->add_option("--lds", options->lds, "Dynamic LDS bytes (default 0)");
  command->add_option("--strict", options->strict, "on: report broken rules (default); off: faster")
      ->check(CLI::IsMember({"on", "off"}));
  add_threads_option(*command, options->threads);
  command->add_option("--limit", options->limit,
                      "Stop after this many instructions of a wave (default: never)");
  command->add_flag("--json", options->json, "Counters and broken rules as JSON");
  command->footer("Example: outboard sim run add.co --grid 4 --arg in:a.bin --arg out:b.bin:1024");
  command->callback([options] { run(*options); });
}

void add_sim_disasm(CLI::App& sim) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* command = sim.add_subcommand("disasm", "Disassembles the kernels of a code object");
  command->add_option("FILE", options->file, "Code object for gfx1100")->required();
  command->add_option("--kernel", options->kernel, "Only this one");
  command->footer("Example: outboard sim disasm add.co");
  command->callback([options] {
    const MappedFile file(options->file);
    const hardware::amd::CodeObject object =
        hardware::amd::CodeObject::parse(file.bytes(), options->file);
    if (!options->kernel.empty()) return disassemble_range(object, object.kernel(options->kernel));
    for (const hardware::amd::Kernel& kernel : object.kernels) disassemble_range(object, kernel);
  });
}

}  // namespace outboard::cli
