#include "hardware/amd/code_object.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "support/error.h"

namespace outboard::hardware::amd {
namespace {

// --- ELF64, the parts that code objects use ---

struct ElfHeader {
  std::array<uint8_t, 16> ident;
  uint16_t type, machine;
  uint32_t version;
  uint64_t entry, program_offset, section_offset;
  uint32_t flags;
  uint16_t header_size, program_entry_size, program_count, section_entry_size, section_count,
      section_names;
};
struct ProgramHeader {
  uint32_t type, flags;
  uint64_t offset, address, physical, file_size, memory_size, alignment;
};
struct SectionHeader {
  uint32_t name, type;
  uint64_t flags, address, offset, size;
  uint32_t link, info;
  uint64_t alignment, entry_size;
};
struct Symbol {
  uint32_t name;
  uint8_t info, other;
  uint16_t section;
  uint64_t value, size;
};
struct Relocation {
  uint64_t offset, info;
  int64_t addend;
};
static_assert(sizeof(ElfHeader) == 64 && sizeof(ProgramHeader) == 56 &&
              sizeof(SectionHeader) == 64);
static_assert(sizeof(Symbol) == 24 && sizeof(Relocation) == 24);

constexpr uint16_t kMachineAmdgpu = 224;
constexpr uint32_t kMachineMask = 0xff, kGfx1100 = 0x41;  // EF_AMDGPU_MACH
constexpr uint32_t kLoad = 1, kNote = 4;                  // program headers
constexpr uint32_t kSymbols = 2, kRelocations = 4, kDynamicSymbols = 11;
constexpr uint32_t kRelative64 = 13;    // R_AMDGPU_RELATIVE64
constexpr uint32_t kMetadataNote = 32;  // NT_AMDGPU_METADATA
constexpr uint64_t kLargestImage = uint64_t{1} << 30;

// The 64 bytes of NAME.kd.
struct Descriptor {
  uint32_t group_segment_fixed_size, private_segment_fixed_size, kernarg_size;
  uint32_t reserved0;
  int64_t kernel_code_entry_byte_offset;
  std::array<uint8_t, 20> reserved1;
  uint32_t compute_pgm_rsrc3, compute_pgm_rsrc1, compute_pgm_rsrc2;
  uint16_t kernel_code_properties;
  std::array<uint8_t, 6> reserved2;
};
static_assert(sizeof(Descriptor) == 64);

class File {
 public:
  File(std::span<const std::byte> bytes, std::string_view source)
      : bytes_(bytes), source_(source) {}

  template <typename T>
  T at(uint64_t offset, std::string_view what) const {
    T out;
    const auto part = range(offset, sizeof(T), what);
    std::memcpy(&out, part.data(), sizeof(T));
    return out;
  }
  std::span<const std::byte> range(uint64_t offset, uint64_t size, std::string_view what) const {
    if (offset > bytes_.size() || size > bytes_.size() - offset) {
      fail("{}: {}: {} bytes at {} lie outside the file of {}", source_, what, size, offset,
           bytes_.size());
    }
    return bytes_.subspan(offset, size);
  }
  std::string_view source() const { return source_; }

 private:
  std::span<const std::byte> bytes_;
  std::string_view source_;
};

std::string text_at(std::span<const std::byte> table, uint32_t offset) {
  std::string out;
  for (size_t i = offset; i < table.size() && table[i] != std::byte{0}; ++i) {
    out.push_back(static_cast<char>(table[i]));
  }
  return out;
}

ElfHeader read_header(const File& file) {
  const auto header = file.at<ElfHeader>(0, "ELF header");
  static constexpr std::array<uint8_t, 4> kMagic = {0x7f, 'E', 'L', 'F'};
  constexpr uint8_t k64Bits = 2, kLittleEndian = 1;
  if (!std::equal(kMagic.begin(), kMagic.end(), header.ident.begin()) ||
      header.ident[4] != k64Bits || header.ident[5] != kLittleEndian ||
      header.machine != kMachineAmdgpu) {
    throw Error(fmt::format("{}: no AMDGPU code object", file.source()),
                "Compile one with: clang -x hip --offload-arch=gfx1100 --cuda-device-only "
                "--no-gpu-bundle-output");
  }
  if ((header.flags & kMachineMask) != kGfx1100) {
    fail("{}: code for another GPU (EF_AMDGPU_MACH {:#x}), expected gfx1100 ({:#x})", file.source(),
         header.flags & kMachineMask, kGfx1100);
  }
  if (header.program_entry_size != sizeof(ProgramHeader) ||
      (header.section_count != 0 && header.section_entry_size != sizeof(SectionHeader))) {
    fail("{}: header entries of unknown size", file.source());
  }
  return header;
}

void load_segments(const File& file, const ElfHeader& header, CodeObject& out) {
  for (int i = 0; i < header.program_count; ++i) {
    const auto segment = file.at<ProgramHeader>(
        header.program_offset + uint64_t{sizeof(ProgramHeader)} * static_cast<uint64_t>(i),
        "program header");
    if (segment.type != kLoad) continue;
    if (segment.memory_size > kLargestImage || segment.address > kLargestImage ||
        segment.file_size > segment.memory_size) {
      fail("{}: a segment of {} bytes at {:#x}", file.source(), segment.memory_size,
           segment.address);
    }
    const uint64_t end = segment.address + segment.memory_size;
    if (out.image.size() < end) out.image.resize(end);
    const auto bytes = file.range(segment.offset, segment.file_size, "segment");
    std::copy(bytes.begin(), bytes.end(),
              out.image.begin() + static_cast<std::ptrdiff_t>(segment.address));
  }
  if (out.image.empty()) fail("{}: nothing to load", file.source());
}

std::vector<SectionHeader> read_sections(const File& file, const ElfHeader& header) {
  std::vector<SectionHeader> out;
  for (int i = 0; i < header.section_count; ++i) {
    out.push_back(file.at<SectionHeader>(
        header.section_offset + uint64_t{sizeof(SectionHeader)} * static_cast<uint64_t>(i),
        "section header"));
  }
  return out;
}

void check_relocations(const File& file, const std::vector<SectionHeader>& sections) {
  for (const SectionHeader& section : sections) {
    if (section.type != kRelocations) continue;
    for (uint64_t at = 0; at + sizeof(Relocation) <= section.size; at += sizeof(Relocation)) {
      const auto relocation = file.at<Relocation>(section.offset + at, "relocation");
      // Images are placed where the caller likes, so only relocations that need no address can be
      // honoured; compilers write no others for kernels that stand alone.
      fail("{}: relocation of type {} at {:#x} is not supported{}", file.source(),
           static_cast<uint32_t>(relocation.info), relocation.offset,
           static_cast<uint32_t>(relocation.info) == kRelative64 ? " (a pointer in constant data)"
                                                                 : "");
    }
  }
}

Kernel read_kernel(const File& file, const CodeObject& object, std::string name, uint64_t address) {
  if (address > object.image.size() || object.image.size() - address < sizeof(Descriptor)) {
    fail("{}: the descriptor of {} lies outside the image", file.source(), name);
  }
  Descriptor d;
  std::memcpy(&d, &object.image[address], sizeof(d));
  Kernel kernel;
  kernel.name = std::move(name);
  kernel.entry = address + static_cast<uint64_t>(d.kernel_code_entry_byte_offset);
  if (kernel.entry >= object.image.size() || kernel.entry % 4 != 0) {
    fail("{}: the code of {} lies outside the image", file.source(), kernel.name);
  }
  kernel.lds_bytes = d.group_segment_fixed_size;
  kernel.scratch_bytes = d.private_segment_fixed_size;
  kernel.kernarg_bytes = d.kernarg_size;
  kernel.pgm_rsrc1 = d.compute_pgm_rsrc1;
  kernel.pgm_rsrc2 = d.compute_pgm_rsrc2;
  kernel.pgm_rsrc3 = d.compute_pgm_rsrc3;
  kernel.properties = d.kernel_code_properties;
  return kernel;
}

template <typename F>
void for_symbols(const File& file, const std::vector<SectionHeader>& sections, F&& body) {
  for (const SectionHeader& section : sections) {
    if (section.type != kDynamicSymbols && section.type != kSymbols) continue;
    if (section.link >= sections.size()) fail("{}: symbols without names", file.source());
    const auto names =
        file.range(sections[section.link].offset, sections[section.link].size, "symbol names");
    for (uint64_t at = 0; at + sizeof(Symbol) <= section.size; at += sizeof(Symbol)) {
      const auto symbol = file.at<Symbol>(section.offset + at, "symbol");
      body(text_at(names, symbol.name), symbol);
    }
  }
}

void read_kernels(const File& file, const std::vector<SectionHeader>& sections, CodeObject& out) {
  constexpr std::string_view kSuffix = ".kd";
  for_symbols(file, sections, [&](std::string name, const Symbol& symbol) {
    if (!name.ends_with(kSuffix)) return;
    name.resize(name.size() - kSuffix.size());
    const bool known = std::any_of(out.kernels.begin(), out.kernels.end(),
                                   [&](const Kernel& k) { return k.name == name; });
    if (!known) out.kernels.push_back(read_kernel(file, out, std::move(name), symbol.value));
  });
  if (out.kernels.empty()) fail("{}: no kernel in it", file.source());
  // The functions behind the descriptors tell how long the code is.
  for_symbols(file, sections, [&](const std::string& name, const Symbol& symbol) {
    for (Kernel& kernel : out.kernels) {
      if (kernel.name == name && symbol.size <= out.image.size() - kernel.entry)
        kernel.code_bytes = symbol.size;
    }
  });
}

// Metadata is optional: without it a kernel's arguments are unknown, and it can still run.
void read_metadata(const File& file, std::span<const std::byte> message, CodeObject& out) {
  const auto document = nlohmann::json::from_msgpack(
      reinterpret_cast<const uint8_t*>(message.data()),
      reinterpret_cast<const uint8_t*>(message.data()) + message.size(), true, false);
  if (document.is_discarded() || !document.contains("amdhsa.kernels")) {
    fail("{}: its metadata cannot be read", file.source());
  }
  for (const auto& entry : document["amdhsa.kernels"]) {
    const std::string name = entry.value(".name", "");
    for (Kernel& kernel : out.kernels) {
      if (kernel.name != name || !entry.contains(".args")) continue;
      for (const auto& argument : entry[".args"]) {
        kernel.arguments.push_back({argument.value(".name", ""), argument.value(".value_kind", ""),
                                    argument.value(".offset", 0U), argument.value(".size", 0U)});
      }
    }
  }
}

void read_notes(const File& file, const ElfHeader& header, CodeObject& out) {
  struct NoteHeader {
    uint32_t name_size, size, type;
  };
  for (int i = 0; i < header.program_count; ++i) {
    const auto segment = file.at<ProgramHeader>(
        header.program_offset + uint64_t{sizeof(ProgramHeader)} * static_cast<uint64_t>(i),
        "program header");
    if (segment.type != kNote) continue;
    const auto bytes = file.range(segment.offset, segment.file_size, "notes");
    const File notes(bytes, file.source());
    for (uint64_t at = 0; at + sizeof(NoteHeader) <= bytes.size();) {
      const auto note = notes.at<NoteHeader>(at, "note");
      const uint64_t content = at + sizeof(NoteHeader) + (uint64_t{note.name_size} + 3) / 4 * 4;
      const auto body = notes.range(content, note.size, "note");
      if (note.type == kMetadataNote) read_metadata(file, body, out);
      at = content + (uint64_t{note.size} + 3) / 4 * 4;
    }
  }
}

}  // namespace

CodeObject CodeObject::parse(std::span<const std::byte> bytes, std::string_view source) {
  const File file(bytes, source);
  CodeObject out;
  const ElfHeader header = read_header(file);
  load_segments(file, header, out);
  const std::vector<SectionHeader> sections = read_sections(file, header);
  check_relocations(file, sections);
  read_kernels(file, sections, out);
  read_notes(file, header, out);
  return out;
}

const Kernel& CodeObject::kernel(std::string_view name) const {
  if (name.empty() && kernels.size() == 1) return kernels.front();
  std::string names;
  for (const Kernel& each : kernels) {
    if (each.name == name) return each;
    names += "\n  " + each.name;
  }
  throw Error(name.empty() ? "the code object has several kernels"
                           : fmt::format("there is no kernel {}", name),
              "Its kernels:" + names);
}

bool uses_wave32(const Kernel& kernel) { return (kernel.properties & kWave32) != 0; }

uint32_t scratch_bytes_per_wave(const Kernel& kernel) {
  // COMPUTE_TMPRING_SIZE.WAVESIZE counts 64 dwords on gfx11 (LLVM, SIProgramInfo).
  constexpr uint32_t kUnit = 256;
  const uint32_t lanes = uses_wave32(kernel) ? 32 : 64;
  return (kernel.scratch_bytes * lanes + kUnit - 1) / kUnit * kUnit;
}

}  // namespace outboard::hardware::amd
