// Python's pickles of tensors, read without running anything.
//
// A pickle is a program for a stack machine that may call any Python function. This reader knows
// what torch.save() needs for a state_dict: numbers, strings, tuples, lists, dicts, and these
// names: collections.OrderedDict, torch._utils._rebuild_tensor_v2, torch.FloatStorage and its
// sisters. Everything else is refused by name. Source: Python's pickletools (opcodes, protocols 0
// to 5), and torch's serialization.py (what is saved).
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string_view>
#include <vector>

namespace outboard::formats {

enum class PickleKind {
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kTuple,
  kList,
  kDict,
  kGlobal,
  kStorage,
  kTensor
};

// "a string", for messages.
std::string_view kind_name(PickleKind kind);

struct PickleValue {
  PickleKind kind = PickleKind::kNone;
  int64_t number = 0;  // of an int or a bool
  double real = 0;     // of a float
  std::string_view
      text;  // of a string, and a global's name ("FloatStorage"); in the pickle's bytes
  // Of a tuple or list; of a dict: key, value, key, value; of a storage: torch's persistent id
  // ("storage", class, key, device, elements, ...); of a tensor: the arguments of
  // _rebuild_tensor_v2 (storage, offset, shape, strides, ...). Values may be shared, and a list may
  // hold itself: walk what you expect, not everything.
  std::vector<const PickleValue*> items;
};

// One pickle, and the values it made.
class Pickle {
 public:
  // Reads the pickle at the start of `bytes`, which must outlive this. Throws Error, with the
  // opcode's place, for what a state_dict does not need, and for damage.
  explicit Pickle(std::span<const std::byte> bytes);
  Pickle(const Pickle&) = delete;
  Pickle& operator=(const Pickle&) = delete;

  const PickleValue& value() const { return *result_; }
  size_t size() const { return size_; }  // bytes read, up to the end of the pickle

 private:
  friend class PickleMachine;
  std::deque<PickleValue> values_;  // all of them: no ownership inside, so cycles do no harm
  const PickleValue* result_ = nullptr;
  size_t size_ = 0;
};

}  // namespace outboard::formats
