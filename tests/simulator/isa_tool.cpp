// Disassembles: each line of stdin is up to three words in hex. Answers with the size in bytes and
// the text, or "4 invalid". With --list: writes all mnemonics.
#include <cstdint>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "hardware/amd/rdna3/instruction.h"

int main(int argc, char** argv) {
  namespace isa = outboard::hardware::amd::rdna3;
  if (argc > 1 && std::string(argv[1]) == "--list") {
    for (int op = 1; op < isa::kOpcodeCount; ++op) {
      std::cout << isa::mnemonic(static_cast<isa::Opcode>(op)) << '\n';
    }
    return 0;
  }
  std::ios::sync_with_stdio(false);
  std::string line;
  while (std::getline(std::cin, line)) {
    std::istringstream in(line);
    std::vector<uint32_t> words;
    for (uint32_t word = 0; in >> std::hex >> word;) words.push_back(word);
    isa::Instruction instruction;
    const bool valid = isa::decode(words, instruction);
    std::cout << int{instruction.size} << ' '
              << (valid ? isa::disassemble(instruction, 0) : "invalid") << '\n';
  }
  return 0;
}
