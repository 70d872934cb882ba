// Disassembles: each line of stdin is up to three words in hex. Answers with the size in bytes and
// the text, or "4 invalid". With --list: writes all mnemonics.
#include <cstdint>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "simulator/compute/instruction.h"

int main(int argc, char** argv) {
  namespace compute = outboard::simulator::compute;
  if (argc > 1 && std::string(argv[1]) == "--list") {
    for (int op = 1; op < compute::kOpcodeCount; ++op) {
      std::cout << compute::mnemonic(static_cast<compute::Opcode>(op)) << '\n';
    }
    return 0;
  }
  std::ios::sync_with_stdio(false);
  std::string line;
  while (std::getline(std::cin, line)) {
    std::istringstream in(line);
    std::vector<uint32_t> words;
    for (uint32_t word = 0; in >> std::hex >> word;) words.push_back(word);
    compute::Instruction instruction;
    const bool valid = compute::decode(words, instruction);
    std::cout << int{instruction.size} << ' '
              << (valid ? compute::disassemble(instruction, 0) : "invalid") << '\n';
  }
  return 0;
}
