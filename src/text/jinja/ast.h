// The parsed template. Internal to the Jinja engine.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja/interpreter.h"

namespace outboard::text::jinja {

// Nodes nest at most so deep, which bounds the recursion over them.
inline constexpr int kDeepestNode = 150;

struct Expression {
  explicit Expression(int at) : line(at) {}
  virtual ~Expression() = default;
  virtual Value evaluate(Interpreter& interpreter) const = 0;

  int line;
  int depth = 1;  // set by the parser
};
using ExpressionPtr = std::unique_ptr<Expression>;

enum class Flow : uint8_t { kNext, kBreak, kContinue };

// A statement, or text.
struct Node {
  explicit Node(int at) : line(at) {}
  virtual ~Node() = default;
  virtual Flow run(Interpreter& interpreter) const = 0;

  int line;
};
using Nodes = std::vector<std::unique_ptr<Node>>;
Flow run_all(const Nodes& nodes, Interpreter& interpreter);

// What can be assigned to: a name, a field of a namespace, or a tuple of targets.
struct Target {
  std::string name;
  std::string field;  // empty: the name itself
  std::vector<Target> parts;

  void assign(Interpreter& interpreter, const Value& value) const;
};

struct CallArguments {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  ExpressionPtr star, double_star;

  Arguments evaluate(Interpreter& interpreter) const;
};

struct Constant final : Expression {
  Constant(int at, Value constant) : Expression(at), value(std::move(constant)) {}
  Value evaluate(Interpreter& interpreter) const override;
  Value value;
};

struct Name final : Expression {
  Name(int at, std::string text) : Expression(at), name(std::move(text)) {}
  Value evaluate(Interpreter& interpreter) const override;
  std::string name;
};

struct ListDisplay final : Expression {
  using Expression::Expression;
  Value evaluate(Interpreter& interpreter) const override;
  std::vector<ExpressionPtr> items;
  bool tuple = false;
};

struct DictDisplay final : Expression {
  using Expression::Expression;
  Value evaluate(Interpreter& interpreter) const override;
  std::vector<std::pair<ExpressionPtr, ExpressionPtr>> items;
};

struct Attribute final : Expression {
  using Expression::Expression;
  Value evaluate(Interpreter& interpreter) const override;
  ExpressionPtr object;
  std::string name;
};

struct Subscript final : Expression {
  using Expression::Expression;
  Value evaluate(Interpreter& interpreter) const override;
  ExpressionPtr object, key;
};

struct Slice final : Expression {
  using Expression::Expression;
  Value evaluate(Interpreter& interpreter) const override;
  ExpressionPtr object, start, stop, step;  // null: left out
};

struct Call final : Expression {
  using Expression::Expression;
  Value evaluate(Interpreter& interpreter) const override;
  ExpressionPtr callee;
  CallArguments arguments;
};

struct FilterCall final : Expression {
  using Expression::Expression;
  Value evaluate(Interpreter& interpreter) const override;
  Value apply(Interpreter& interpreter, const Value& input) const;
  ExpressionPtr input;  // null in a filter block
  std::string name;
  Filter filter = nullptr;  // null: unknown, an error only when it is used
  CallArguments arguments;
};

struct TestCall final : Expression {
  using Expression::Expression;
  Value evaluate(Interpreter& interpreter) const override;
  ExpressionPtr input;
  std::string name;
  Test test = nullptr;  // null: unknown, an error only when it is used
  CallArguments arguments;
  bool negated = false;
};

struct Unary final : Expression {
  using Expression::Expression;
  Value evaluate(Interpreter& interpreter) const override;
  ExpressionPtr operand;
  std::string sign;  // "not", "-", "+"
};

struct Binary final : Expression {
  using Expression::Expression;
  Value evaluate(Interpreter& interpreter) const override;
  ExpressionPtr left, right;
  std::string sign;  // "and", "or", or one of apply_operator
};

struct Comparison final : Expression {
  using Expression::Expression;
  Value evaluate(Interpreter& interpreter) const override;
  ExpressionPtr first;
  std::vector<std::pair<std::string, ExpressionPtr>> rest;  // a < b < c, with in and not in
};

struct Conditional final : Expression {
  using Expression::Expression;
  Value evaluate(Interpreter& interpreter) const override;
  ExpressionPtr condition, yes, no;  // no: null if left out
};

struct Text final : Node {
  Text(int at, std::string content) : Node(at), text(std::move(content)) {}
  Flow run(Interpreter& interpreter) const override;
  std::string text;
};

struct Output final : Node {
  using Node::Node;
  Flow run(Interpreter& interpreter) const override;
  ExpressionPtr expression;
};

struct Sequence final : Node {  // the template, and a generation block
  using Node::Node;
  Flow run(Interpreter& interpreter) const override;
  Nodes body;
};

struct Block final : Node {  // {% block name %}, which nothing can extend here
  using Node::Node;
  Flow run(Interpreter& interpreter) const override;
  Nodes body;
};

struct If final : Node {
  using Node::Node;
  Flow run(Interpreter& interpreter) const override;
  std::vector<std::pair<ExpressionPtr, Nodes>> branches;
  Nodes otherwise;
};

struct For final : Node {
  using Node::Node;
  Flow run(Interpreter& interpreter) const override;
  void loop(Interpreter& interpreter, const Value& over, int level) const;
  Target target;
  ExpressionPtr over, condition;  // condition: null if there is none
  bool recursive = false;
  Nodes body, otherwise;
};

struct LoopControl final : Node {
  LoopControl(int at, Flow what) : Node(at), flow(what) {}
  Flow run(Interpreter&) const override { return flow; }
  Flow flow;
};

struct Set final : Node {
  using Node::Node;
  Flow run(Interpreter& interpreter) const override;
  Target target;
  ExpressionPtr value;  // null: the block's output
  std::vector<std::unique_ptr<FilterCall>> filters;
  Nodes body;
};

struct FilterBlock final : Node {
  using Node::Node;
  Flow run(Interpreter& interpreter) const override;
  std::vector<std::unique_ptr<FilterCall>> filters;
  Nodes body;
};

struct With final : Node {
  using Node::Node;
  Flow run(Interpreter& interpreter) const override;
  std::vector<std::pair<Target, ExpressionPtr>> values;
  Nodes body;
};

// What macros and call blocks share.
struct MacroBody {
  std::string name;
  std::vector<std::pair<std::string, ExpressionPtr>> parameters;  // default: null if none
  Nodes body;
  bool uses_varargs = false, uses_kwargs = false;

  Value make(Interpreter& interpreter) const;
};

struct Macro final : Node {
  using Node::Node;
  Flow run(Interpreter& interpreter) const override;
  MacroBody macro;
};

struct CallBlock final : Node {
  using Node::Node;
  Flow run(Interpreter& interpreter) const override;
  std::unique_ptr<Call> call;
  MacroBody caller;
};

}  // namespace outboard::text::jinja
