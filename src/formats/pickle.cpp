#include "formats/pickle.h"

#include <bit>
#include <cstring>
#include <string>
#include <unordered_map>

#include "formats/pickle_ops.h"
#include "support/error.h"

namespace outboard::formats {
namespace {

constexpr size_t kMaxValues = 1'000'000;  // a state_dict of 500 tensors makes 10,000
constexpr size_t kMaxStack = kMaxValues;

constexpr const char* kHint =
    "Outboard reads tensors only and runs nothing that a pickle asks for. If the file comes from "
    "a source you trust, save it again as model.safetensors.";

constexpr std::string_view kRebuildTensor = "_rebuild_tensor_v2";
constexpr std::string_view kOrderedDict = "OrderedDict";

bool is_known_global(std::string_view module, std::string_view name) {
  if (module == "collections") return name == kOrderedDict;
  if (module == "torch._utils") return name == kRebuildTensor;
  constexpr std::string_view kStorages[] = {
      "FloatStorage", "HalfStorage",  "BFloat16Storage", "DoubleStorage", "LongStorage",
      "IntStorage",   "ShortStorage", "CharStorage",     "ByteStorage",   "BoolStorage"};
  if (module != "torch") return false;
  for (const std::string_view storage : kStorages) {
    if (name == storage) return true;
  }
  return false;
}

// A name from the file, fit for a message.
std::string shown(std::string_view name) {
  std::string text(name.substr(0, 60));
  for (char& c : text) {
    if (c < ' ' || c > '~') c = '?';
  }
  return text;
}

}  // namespace

std::string_view kind_name(PickleKind kind) {
  switch (kind) {
    case PickleKind::kNone:
      return "None";
    case PickleKind::kBool:
      return "a bool";
    case PickleKind::kInt:
      return "an integer";
    case PickleKind::kFloat:
      return "a float";
    case PickleKind::kString:
      return "a string";
    case PickleKind::kTuple:
      return "a tuple";
    case PickleKind::kList:
      return "a list";
    case PickleKind::kDict:
      return "a dict";
    case PickleKind::kGlobal:
      return "a class or function";
    case PickleKind::kStorage:
      return "a storage";
    case PickleKind::kTensor:
      return "a tensor";
  }
  return "?";
}

class PickleMachine {
 public:
  PickleMachine(Pickle& pickle, std::span<const std::byte> bytes)
      : pickle_(pickle), bytes_(bytes) {}

  void run() {
    try {
      while (step()) {
      }
    } catch (Error& error) {
      error.add_context(fmt::format("pickle: byte {}", op_at_));
      throw;
    }
    pickle_.size_ = at_;
  }

 private:
  using Kind = PickleKind;

  // One opcode; false after the last.
  bool step() {
    op_at_ = at_;
    const auto op = number<uint8_t>();
    switch (static_cast<PickleOp>(op)) {
      case PickleOp::kProto:
        if (const int version = number<uint8_t>(); version > 5) {
          fail("PROTO: found {}, expected at most 5", version);
        }
        break;
      case PickleOp::kFrame:
        number<uint64_t>();  // a hint for reading ahead
        break;
      case PickleOp::kStop:
        pickle_.result_ = pop();
        return false;
      case PickleOp::kMark:
        marks_.push_back(stack_.size());
        if (marks_.size() > kMaxStack) fail("MARK: found more than {}", kMaxStack);
        break;
      case PickleOp::kPop:
        pop();
        break;
      case PickleOp::kNone:
        make(Kind::kNone);
        break;
      case PickleOp::kNewTrue:
      case PickleOp::kNewFalse:
        make(Kind::kBool).number = static_cast<PickleOp>(op) == PickleOp::kNewTrue ? 1 : 0;
        break;
      case PickleOp::kBinInt:
        make(Kind::kInt).number = number<int32_t>();
        break;
      case PickleOp::kBinInt1:
        make(Kind::kInt).number = number<uint8_t>();
        break;
      case PickleOp::kBinInt2:
        make(Kind::kInt).number = number<uint16_t>();
        break;
      case PickleOp::kLong1:
        make(Kind::kInt).number = long_number(number<uint8_t>());
        break;
      case PickleOp::kBinFloat:  // big-endian, unlike the rest
        make(Kind::kFloat).real = std::bit_cast<double>(__builtin_bswap64(number<uint64_t>()));
        break;
      case PickleOp::kBinUnicode:
        make(Kind::kString).text = text(number<uint32_t>());
        break;
      case PickleOp::kShortBinUnicode:
        make(Kind::kString).text = text(number<uint8_t>());
        break;
      default:
        return step_containers(op);
    }
    return true;
  }

  bool step_containers(uint8_t op) {
    switch (static_cast<PickleOp>(op)) {
      case PickleOp::kEmptyTuple:
        make(Kind::kTuple);
        break;
      case PickleOp::kEmptyList:
        make(Kind::kList);
        break;
      case PickleOp::kEmptyDict:
        make(Kind::kDict);
        break;
      case PickleOp::kTuple1:
      case PickleOp::kTuple2:
      case PickleOp::kTuple3:
        make_tuple(pop_many(static_cast<size_t>(op) - static_cast<size_t>(PickleOp::kTuple1) + 1));
        break;
      case PickleOp::kTuple:
        make_tuple(pop_to_mark());
        break;
      case PickleOp::kAppend:
        add_items(Kind::kList, pop_many(1));
        break;
      case PickleOp::kAppends:
        add_items(Kind::kList, pop_to_mark());
        break;
      case PickleOp::kSetItem:
        add_items(Kind::kDict, pop_many(2));
        break;
      case PickleOp::kSetItems:
        add_items(Kind::kDict, pop_to_mark());
        break;
      case PickleOp::kBinPut:
        put(number<uint8_t>());
        break;
      case PickleOp::kLongBinPut:
        put(number<uint32_t>());
        break;
      case PickleOp::kMemoize:
        put(static_cast<uint32_t>(memo_.size()));
        break;
      case PickleOp::kBinGet:
        get(number<uint8_t>());
        break;
      case PickleOp::kLongBinGet:
        get(number<uint32_t>());
        break;
      default:
        step_names(op);
    }
    return true;
  }

  void step_names(uint8_t op) {
    switch (static_cast<PickleOp>(op)) {
      case PickleOp::kGlobal: {
        const std::string_view module = line();
        global(module, line());
        break;
      }
      case PickleOp::kStackGlobal: {
        const std::vector<PickleValue*> names = pop_many(2);
        if (names[0]->kind != Kind::kString || names[1]->kind != Kind::kString) {
          fail("STACK_GLOBAL: expected two strings");
        }
        global(names[0]->text, names[1]->text);
        break;
      }
      case PickleOp::kBinPersId: {
        const PickleValue* id = pop();
        if (id->kind != Kind::kTuple) {
          fail("BINPERSID: found {}, expected torch's tuple of a storage", kind_name(id->kind));
        }
        make_from(Kind::kStorage, *id);
        break;
      }
      case PickleOp::kReduce:
        reduce();
        break;
      case PickleOp::kBuild: {
        // The state of an OrderedDict (state_dict's _metadata) tells nothing about tensors.
        pop();
        if (const PickleValue* object = top(); object->kind != Kind::kDict) {
          throw Error(fmt::format("BUILD: found {}, expected a dict", kind_name(object->kind)),
                      kHint);
        }
        break;
      }
      default:
        throw Error(
            fmt::format("found the opcode {}, which no dict of tensors needs", pickle_op_name(op)),
            kHint);
    }
  }

  void global(std::string_view module, std::string_view name) {
    if (!is_known_global(module, name)) {
      throw Error(fmt::format("GLOBAL: found {}.{}, expected names of tensors and storages only",
                              shown(module), shown(name)),
                  kHint);
    }
    make(Kind::kGlobal).text = name;
  }

  void reduce() {
    const PickleValue* arguments = pop();
    const PickleValue* callee = pop();
    if (callee->kind != Kind::kGlobal || arguments->kind != Kind::kTuple) {
      fail("REDUCE: found {} called with {}", kind_name(callee->kind), kind_name(arguments->kind));
    }
    if (callee->text == kRebuildTensor) {
      make_from(Kind::kTensor, *arguments);
    } else if (callee->text == kOrderedDict && arguments->items.empty()) {
      make(Kind::kDict);
    } else {
      throw Error(fmt::format("REDUCE: found a call of {} with {} arguments", callee->text,
                              arguments->items.size()),
                  kHint);
    }
  }

  PickleValue& make(Kind kind) {
    if (pickle_.values_.size() >= kMaxValues) fail("found more than {} values", kMaxValues);
    PickleValue& value = pickle_.values_.emplace_back();
    value.kind = kind;
    push(&value);
    return value;
  }

  // A storage or tensor of its tuple. Both are short: one long tuple taken many times would fill
  // the memory.
  void make_from(Kind kind, const PickleValue& tuple) {
    constexpr size_t kMaxItems = 8;
    if (tuple.items.size() > kMaxItems) {
      fail("found {} of {} items, expected at most {}", kind_name(kind), tuple.items.size(),
           kMaxItems);
    }
    make(kind).items = tuple.items;
  }

  void make_tuple(const std::vector<PickleValue*>& items) {
    make(Kind::kTuple).items.assign(items.begin(), items.end());
  }

  void add_items(Kind kind, const std::vector<PickleValue*>& items) {
    PickleValue* container = top();
    if (container->kind != kind) {
      fail("found {} where {} is filled", kind_name(container->kind), kind_name(kind));
    }
    if (kind == Kind::kDict && items.size() % 2 != 0) fail("SETITEMS: found a key without a value");
    container->items.insert(container->items.end(), items.begin(), items.end());
  }

  void push(PickleValue* value) {
    if (stack_.size() >= kMaxStack) fail("found more than {} values on the stack", kMaxStack);
    stack_.push_back(value);
  }

  // Values below the last mark belong to what is unfinished.
  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }

  PickleValue* top() const {
    if (stack_.size() <= floor()) fail("found an empty stack");
    return stack_.back();
  }

  PickleValue* pop() {
    PickleValue* value = top();
    stack_.pop_back();
    return value;
  }

  std::vector<PickleValue*> pop_many(size_t count) {
    if (stack_.size() - floor() < count) fail("found too few values on the stack");
    const auto begin = stack_.end() - static_cast<std::ptrdiff_t>(count);
    std::vector<PickleValue*> items(begin, stack_.end());
    stack_.erase(begin, stack_.end());
    return items;
  }

  std::vector<PickleValue*> pop_to_mark() {
    if (marks_.empty()) fail("found no mark on the stack");
    std::vector<PickleValue*> items = pop_many(stack_.size() - floor());
    marks_.pop_back();
    return items;
  }

  void put(uint32_t place) { memo_[place] = top(); }

  void get(uint32_t place) {
    const auto found = memo_.find(place);
    if (found == memo_.end()) fail("BINGET: nothing was put at {}", place);
    push(found->second);
  }

  std::span<const std::byte> take(size_t count) {
    if (count > bytes_.size() - at_) {
      throw Error(fmt::format("found the end of the file, expected {} more bytes", count),
                  "The file is incomplete or damaged: get it again.");
    }
    const auto taken = bytes_.subspan(at_, count);
    at_ += count;
    return taken;
  }

  template <typename T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }

  int64_t long_number(size_t size) {
    if (size > sizeof(int64_t)) fail("LONG1: found {} bytes, expected at most 8", size);
    const auto digits = take(size);
    // Two's complement of as many bytes as it needs.
    const bool negative = size > 0 && (static_cast<uint8_t>(digits[size - 1]) & 0x80) != 0;
    int64_t value = negative ? -1 : 0;
    if (size > 0) std::memcpy(&value, digits.data(), size);
    return value;
  }

  std::string_view text(size_t size) {
    const auto taken = take(size);
    return {reinterpret_cast<const char*>(taken.data()), taken.size()};
  }

  // Up to a newline, which is dropped.
  std::string_view line() {
    const std::string_view rest(reinterpret_cast<const char*>(bytes_.data()) + at_,
                                bytes_.size() - at_);
    const size_t end = rest.find('\n');
    if (end == std::string_view::npos) fail("GLOBAL: found no end of the name");
    at_ += end + 1;
    return rest.substr(0, end);
  }

  Pickle& pickle_;
  std::span<const std::byte> bytes_;
  size_t at_ = 0;     // the next byte
  size_t op_at_ = 0;  // the opcode that runs
  std::vector<PickleValue*> stack_;
  std::vector<size_t> marks_;  // heights of the stack
  std::unordered_map<uint32_t, PickleValue*> memo_;
};

Pickle::Pickle(std::span<const std::byte> bytes) { PickleMachine(*this, bytes).run(); }

}  // namespace outboard::formats
