// The card's registers: values, names, and what happens when they are read or written.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "hardware/amd/navi31/register.h"
#include "simulator/card/events.h"

namespace outboard::simulator::card {

// Addresses count dwords, as in the vendor's headers.
class RegisterFile {
 public:
  // Makes the value that a read gives from the stored one.
  using ReadHook = std::function<uint32_t(uint32_t stored)>;
  // Called after the value was stored.
  using WriteHook = std::function<void(uint32_t value)>;

  explicit RegisterFile(EventLog& events);

  // As the host or an engine does it. A register that the tables do not have reads zero, keeps
  // nothing, and makes an event.
  uint32_t read(uint32_t address);
  void write(uint32_t address, uint32_t value);

  // The stored value, past the hooks. REQUIRES: the tables have the register.
  uint32_t peek(uint32_t address) const;
  void poke(uint32_t address, uint32_t value);
  template <typename R>
  uint32_t get() const {
    return peek(R::kAddress);
  }
  template <typename R>
  void set(uint32_t value) {
    poke(R::kAddress, value);
  }
  // low | high << 32.
  uint64_t peek64(uint32_t low, uint32_t high) const {
    return peek(low) | (uint64_t{peek(high)} << 32);
  }
  template <typename Low, typename High>
  uint64_t get64() const {
    return peek64(Low::kAddress, High::kAddress);
  }

  void on_read(uint32_t address, ReadHook hook) { entry(address).read = std::move(hook); }
  void on_write(uint32_t address, WriteHook hook) { entry(address).write = std::move(hook); }
  template <typename R>
  void on_read(ReadHook hook) {
    on_read(R::kAddress, std::move(hook));
  }
  template <typename R>
  void on_write(WriteHook hook) {
    on_write(R::kAddress, std::move(hook));
  }

  bool has(uint32_t address) const { return entries_.contains(address); }
  std::string_view name(uint32_t address) const;
  // Throws Error for a name that the tables lack.
  uint32_t find(std::string_view name) const;

  // GRBM_GFX_CNTL picks which copy of a per-queue or per-VMID register is meant.
  struct Selection {
    uint32_t me = 0, pipe = 0, queue = 0, vmid = 0;
  };
  const Selection& selection() const { return override_ ? *override_ : selection_; }
  void select(const Selection& selection) { selection_ = selection; }
  // An engine's own choice, which leaves the host's alone.
  const std::optional<Selection>& engine_selection() const { return override_; }
  void select_for_engine(const std::optional<Selection>& selection) { override_ = selection; }

  // Every register to its power-on value.
  void reset();

 private:
  enum class Bank : uint8_t { kNone, kQueue, kVmid };
  struct Entry {
    std::string_view name;
    uint32_t reset_value = 0;
    uint32_t value = 0;
    Bank bank = Bank::kNone;
    std::vector<uint32_t> copies;  // of a banked register
    ReadHook read;
    WriteHook write;
  };

  Entry& entry(uint32_t address);
  const Entry& entry(uint32_t address) const;
  size_t copy_of(const Entry& entry) const;
  void add(uint32_t address, std::string_view name, uint32_t reset_value);

  EventLog& events_;
  std::unordered_map<uint32_t, Entry> entries_;
  std::unordered_map<std::string_view, uint32_t> by_name_;
  Selection selection_;
  std::optional<Selection> override_;
};

// Selects a queue's registers for as long as it lives, as an engine does for itself.
class SelectionGuard {
 public:
  SelectionGuard(RegisterFile& registers, const RegisterFile::Selection& selection)
      : registers_(registers), before_(registers.engine_selection()) {
    registers_.select_for_engine(selection);
  }
  ~SelectionGuard() { registers_.select_for_engine(before_); }
  SelectionGuard(const SelectionGuard&) = delete;
  SelectionGuard& operator=(const SelectionGuard&) = delete;

 private:
  RegisterFile& registers_;
  std::optional<RegisterFile::Selection> before_;
};

}  // namespace outboard::simulator::card
