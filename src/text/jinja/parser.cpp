#include "text/jinja/parser.h"

#include <algorithm>
#include <initializer_list>

#include "support/error.h"
#include "text/jinja/lexer.h"

namespace outboard::text::jinja {
namespace {

using Kind = Token::Kind;

// Counts how deep the parser is in its own recursion.
class DepthGuard {
 public:
  DepthGuard(int& depth, int line) : depth_(depth) {
    if (++depth_ > kDeepestNode) {
      --depth_;
      fail("line {}: nested more than {} deep", line, kDeepestNode);
    }
  }
  ~DepthGuard() { --depth_; }
  DepthGuard(const DepthGuard&) = delete;
  DepthGuard& operator=(const DepthGuard&) = delete;

 private:
  int& depth_;
};

class Parser {
 public:
  explicit Parser(std::string_view source) : tokens_(tokenize(source)) {}

  std::unique_ptr<Node> run() {
    auto root = std::make_unique<Sequence>(1);
    root->body = nodes({});
    return root;
  }

 private:
  // --- tokens

  const Token& token() const { return tokens_[at_]; }
  const Token& next_token() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  Token take() {
    Token taken = tokens_[at_];
    if (at_ + 1 < tokens_.size()) ++at_;
    return taken;
  }
  int line() const { return token().line; }

  bool is(Kind kind, std::string_view text) const {
    return token().kind == kind && token().text == text;
  }
  bool is_operator(std::string_view text) const { return is(Kind::kOperator, text); }
  bool is_name(std::string_view text) const { return is(Kind::kName, text); }
  bool skip_operator(std::string_view text) {
    if (!is_operator(text)) return false;
    take();
    return true;
  }
  bool skip_name(std::string_view text) {
    if (!is_name(text)) return false;
    take();
    return true;
  }

  [[noreturn]] void unexpected(std::string_view expected) const {
    const Token& found = token();
    std::string what;
    switch (found.kind) {
      case Kind::kEnd:
        what = "the end of the template";
        break;
      case Kind::kBlockEnd:
      case Kind::kVariableEnd:
        what = "the end of the tag";
        break;
      case Kind::kText:
      case Kind::kBlockBegin:
      case Kind::kVariableBegin:
        what = "text";
        break;
      default:
        what = fmt::format("\"{}\"", found.text);
    }
    fail("line {}: found {}, expected {}", found.line, what, expected);
  }

  void expect_operator(std::string_view text) {
    if (!skip_operator(text)) unexpected(fmt::format("\"{}\"", text));
  }
  void expect_name(std::string_view text) {
    if (!skip_name(text)) unexpected(text);
  }
  std::string expect_any_name() {
    if (token().kind != Kind::kName) unexpected("a name");
    return take().text;
  }
  void expect_block_end() {
    if (token().kind != Kind::kBlockEnd) unexpected("the end of the tag");
    take();
  }

  // --- statements

  // Up to a tag that begins with one of ends; that tag's name is not taken, its opening is.
  Nodes nodes(std::initializer_list<std::string_view> ends) {
    Nodes list;
    for (;;) {
      const int at = line();
      switch (token().kind) {
        case Kind::kEnd:
          if (ends.size() != 0) unexpected(*(ends.end() - 1));
          return list;
        case Kind::kText:
          list.push_back(std::make_unique<Text>(at, take().text));
          break;
        case Kind::kVariableBegin: {
          take();
          auto output = std::make_unique<Output>(at);
          output->expression = tuple();
          if (token().kind != Kind::kVariableEnd) unexpected("the end of the tag");
          take();
          list.push_back(std::move(output));
          break;
        }
        default:
          take();  // {%
          for (const std::string_view end : ends)
            if (is_name(end)) return list;
          list.push_back(statement());
      }
    }
  }

  // A block's inside, its end tag taken too.
  Nodes body(std::string_view end) {
    expect_block_end();
    Nodes list = nodes({end});
    take();
    return list;
  }

  std::unique_ptr<Node> statement() {
    const int at = line();
    const DepthGuard guard(depth_, at);
    if (token().kind != Kind::kName) unexpected("the name of a statement");
    const std::string name = take().text;
    std::unique_ptr<Node> node;
    if (name == "if") return if_block(at);
    if (name == "for") {
      node = for_block(at);
    } else if (name == "set") {
      node = set_block(at);
    } else if (name == "macro") {
      node = macro_block(at);
    } else if (name == "call") {
      node = call_block(at);
    } else if (name == "filter") {
      auto block = std::make_unique<FilterBlock>(at);
      block->filters = filter_chain();
      block->body = body("endfilter");
      node = std::move(block);
    } else if (name == "with") {
      node = with_block(at);
    } else if (name == "block") {
      auto block = std::make_unique<Block>(at);
      const std::string block_name = expect_any_name();
      while (is_name("scoped") || is_name("required")) take();
      block->body = body("endblock");
      if (is_name(block_name)) take();
      node = std::move(block);
    } else if (name == "generation") {
      auto block = std::make_unique<Sequence>(at);
      block->body = body("endgeneration");
      node = std::move(block);
    } else if (name == "break" || name == "continue") {
      if (loops_ == 0) fail("line {}: {} outside of a loop", at, name);
      node = std::make_unique<LoopControl>(at, name == "break" ? Flow::kBreak : Flow::kContinue);
    } else {
      fail("line {}: unknown statement \"{}\"", at, name);
    }
    expect_block_end();
    return node;
  }

  std::unique_ptr<Node> if_block(int at) {
    auto node = std::make_unique<If>(at);
    for (;;) {
      ExpressionPtr condition = tuple();
      expect_block_end();
      Nodes branch = nodes({"elif", "else", "endif"});
      node->branches.emplace_back(std::move(condition), std::move(branch));
      if (skip_name("elif")) continue;
      if (skip_name("else")) {
        expect_block_end();
        node->otherwise = nodes({"endif"});
      }
      break;
    }
    expect_name("endif");
    expect_block_end();
    return node;
  }

  std::unique_ptr<Node> for_block(int at) {
    auto node = std::make_unique<For>(at);
    node->target = target(false);
    if (node->target.name == "loop") fail("line {}: loop can not be assigned to", at);
    expect_name("in");
    node->over = tuple(false);
    if (skip_name("if")) node->condition = expression();
    node->recursive = skip_name("recursive");
    expect_block_end();
    ++loops_;
    node->body = nodes({"else", "endfor"});
    --loops_;
    if (skip_name("else")) {
      expect_block_end();
      node->otherwise = nodes({"endfor"});
    }
    expect_name("endfor");
    return node;
  }

  std::unique_ptr<Node> set_block(int at) {
    auto node = std::make_unique<Set>(at);
    node->target = target(true);
    if (skip_operator("=")) {
      node->value = tuple();
      return node;
    }
    if (is_operator("|")) {
      take();
      node->filters = filter_chain();
    }
    node->body = body("endset");
    return node;
  }

  std::unique_ptr<Node> with_block(int at) {
    auto node = std::make_unique<With>(at);
    while (token().kind != Kind::kBlockEnd) {
      if (!node->values.empty()) expect_operator(",");
      Target name = target(false, true);
      expect_operator("=");
      node->values.emplace_back(std::move(name), expression());
    }
    node->body = body("endwith");
    return node;
  }

  void parameters(MacroBody& macro) {
    expect_operator("(");
    while (!is_operator(")")) {
      if (!macro.parameters.empty()) {
        expect_operator(",");
        if (is_operator(")")) break;
      }
      std::string name = expect_any_name();
      ExpressionPtr value;
      if (skip_operator("=")) value = expression();
      macro.parameters.emplace_back(std::move(name), std::move(value));
    }
    expect_operator(")");
  }

  void macro_body(MacroBody& macro, std::string_view end) {
    const int loops = loops_;
    loops_ = 0;  // a macro's body is not inside the loop around it
    const size_t begin = at_;
    macro.body = body(end);
    for (size_t i = begin; i < at_; ++i) {
      if (tokens_[i].kind != Kind::kName) continue;
      macro.uses_varargs = macro.uses_varargs || tokens_[i].text == "varargs";
      macro.uses_kwargs = macro.uses_kwargs || tokens_[i].text == "kwargs";
    }
    loops_ = loops;
  }

  std::unique_ptr<Node> macro_block(int at) {
    auto node = std::make_unique<Macro>(at);
    node->macro.name = expect_any_name();
    parameters(node->macro);
    macro_body(node->macro, "endmacro");
    return node;
  }

  std::unique_ptr<Node> call_block(int at) {
    auto node = std::make_unique<CallBlock>(at);
    node->caller.name = "caller";
    if (is_operator("(")) parameters(node->caller);
    ExpressionPtr call = expression();
    if (dynamic_cast<Call*>(call.get()) == nullptr) fail("line {}: expected a call", at);
    node->call.reset(static_cast<Call*>(call.release()));
    macro_body(node->caller, "endcall");
    return node;
  }

  // name|name(...)|..., the first without a bar.
  std::vector<std::unique_ptr<FilterCall>> filter_chain() {
    std::vector<std::unique_ptr<FilterCall>> filters;
    do {
      filters.push_back(filter_call(nullptr));
    } while (skip_operator("|"));
    return filters;
  }

  Target target(bool with_field, bool single = false) {
    const DepthGuard guard(depth_, line());
    const auto one = [&]() -> Target {
      if (skip_operator("(")) {
        Target inner = target(with_field);
        expect_operator(")");
        return inner;
      }
      Target name;
      name.name = expect_any_name();
      if (with_field && skip_operator(".")) name.field = expect_any_name();
      return name;
    };
    Target first = one();
    if (single || !is_operator(",")) return first;
    Target all;
    all.parts.push_back(std::move(first));
    while (skip_operator(",")) {
      if (is_name("in") || is_operator("=") || is_operator(")")) break;
      all.parts.push_back(one());
    }
    return all;
  }

  // --- expressions

  // Takes a reference, so that the children may be named through the pointer given away.
  template <typename T>
  std::unique_ptr<T> sized(std::unique_ptr<T>&& node,
                           std::initializer_list<const Expression*> children) {
    for (const Expression* child : children)
      if (child != nullptr) node->depth = std::max(node->depth, child->depth + 1);
    if (node->depth > kDeepestNode)
      fail("line {}: expression nested more than {} deep", node->line, kDeepestNode);
    return std::move(node);
  }

  // One expression, or several with commas: a tuple.
  ExpressionPtr tuple(bool with_condition = true, bool parenthesised = false) {
    const int at = line();
    const auto ends = [&] {
      const Kind kind = token().kind;
      return kind == Kind::kBlockEnd || kind == Kind::kVariableEnd || is_operator(")");
    };
    std::vector<ExpressionPtr> items;
    bool is_tuple = false;
    while (!ends()) {
      items.push_back(expression(with_condition));
      if (!skip_operator(",")) break;
      is_tuple = true;
    }
    if (!is_tuple && items.size() == 1) return std::move(items[0]);
    if (items.empty() && !parenthesised) unexpected("an expression");
    auto node = std::make_unique<ListDisplay>(at);
    node->tuple = true;
    for (const ExpressionPtr& item : items) node = sized(std::move(node), {item.get()});
    node->items = std::move(items);
    return node;
  }

  ExpressionPtr expression(bool with_condition = true) {
    const DepthGuard guard(depth_, line());
    if (!with_condition) return logical_or();
    ExpressionPtr left = logical_or();
    while (is_name("if")) {
      auto node = std::make_unique<Conditional>(line());
      take();
      node->condition = logical_or();
      if (skip_name("else")) node->no = expression();
      node->yes = std::move(left);
      left = sized(std::move(node), {node->yes.get(), node->condition.get(), node->no.get()});
    }
    return left;
  }

  ExpressionPtr binary(ExpressionPtr left, std::string sign, ExpressionPtr right, int at) {
    auto node = std::make_unique<Binary>(at);
    node->sign = std::move(sign);
    node->left = std::move(left);
    node->right = std::move(right);
    const Expression* a = node->left.get();
    const Expression* b = node->right.get();
    return sized(std::move(node), {a, b});
  }

  ExpressionPtr logical_or() {
    ExpressionPtr left = logical_and();
    while (is_name("or")) {
      const int at = take().line;
      left = binary(std::move(left), "or", logical_and(), at);
    }
    return left;
  }

  ExpressionPtr logical_and() {
    ExpressionPtr left = logical_not();
    while (is_name("and")) {
      const int at = take().line;
      left = binary(std::move(left), "and", logical_not(), at);
    }
    return left;
  }

  ExpressionPtr unary(std::string sign, ExpressionPtr operand, int at) {
    auto node = std::make_unique<Unary>(at);
    node->sign = std::move(sign);
    node->operand = std::move(operand);
    const Expression* child = node->operand.get();
    return sized(std::move(node), {child});
  }

  ExpressionPtr logical_not() {
    if (!is_name("not")) return comparison();
    const DepthGuard guard(depth_, line());
    const int at = take().line;
    return unary("not", logical_not(), at);
  }

  ExpressionPtr comparison() {
    ExpressionPtr first = sum();
    std::unique_ptr<Comparison> node;
    for (;;) {
      const int at = line();
      std::string sign;
      if (token().kind == Kind::kOperator &&
          (token().text == "==" || token().text == "!=" || token().text == "<" ||
           token().text == "<=" || token().text == ">" || token().text == ">=")) {
        sign = take().text;
      } else if (skip_name("in")) {
        sign = "in";
      } else if (is_name("not") && next_token().kind == Kind::kName && next_token().text == "in") {
        take();
        take();
        sign = "not in";
      } else {
        break;
      }
      if (node == nullptr) {
        node = std::make_unique<Comparison>(at);
        node->first = std::move(first);
      }
      node->rest.emplace_back(std::move(sign), sum());
    }
    if (node == nullptr) return first;
    node = sized(std::move(node), {node->first.get()});
    for (const auto& [sign, operand] : node->rest) {
      const Expression* child = operand.get();
      node = sized(std::move(node), {child});
    }
    return node;
  }

  ExpressionPtr sum() {
    ExpressionPtr left = concatenation();
    while (is_operator("+") || is_operator("-")) {
      Token sign = take();
      left = binary(std::move(left), std::move(sign.text), concatenation(), sign.line);
    }
    return left;
  }

  ExpressionPtr concatenation() {
    ExpressionPtr left = product();
    while (is_operator("~")) {
      Token sign = take();
      left = binary(std::move(left), std::move(sign.text), product(), sign.line);
    }
    return left;
  }

  ExpressionPtr product() {
    ExpressionPtr left = power();
    while (is_operator("*") || is_operator("/") || is_operator("//") || is_operator("%")) {
      Token sign = take();
      left = binary(std::move(left), std::move(sign.text), power(), sign.line);
    }
    return left;
  }

  ExpressionPtr power() {
    ExpressionPtr left = signed_value(true);
    while (is_operator("**")) {
      Token sign = take();
      left = binary(std::move(left), std::move(sign.text), signed_value(true), sign.line);
    }
    return left;
  }

  ExpressionPtr signed_value(bool with_filters) {
    const DepthGuard guard(depth_, line());
    ExpressionPtr node;
    if (is_operator("-") || is_operator("+")) {
      Token sign = take();
      node = unary(std::move(sign.text), signed_value(false), sign.line);
    } else {
      node = primary();
    }
    node = postfix(std::move(node));
    return with_filters ? filters_and_tests(std::move(node)) : std::move(node);
  }

  ExpressionPtr primary() {
    const int at = line();
    switch (token().kind) {
      case Kind::kName: {
        std::string name = take().text;
        if (name == "true" || name == "True") return std::make_unique<Constant>(at, Value(true));
        if (name == "false" || name == "False") return std::make_unique<Constant>(at, Value(false));
        if (name == "none" || name == "None") return std::make_unique<Constant>(at, Value::none());
        return std::make_unique<Name>(at, std::move(name));
      }
      case Kind::kString: {
        std::string text;
        while (token().kind == Kind::kString) text += take().text;
        return std::make_unique<Constant>(at, Value(std::move(text)));
      }
      case Kind::kInteger:
        return std::make_unique<Constant>(at, integer(take().text, at));
      case Kind::kFloat: {
        // from_chars of floating point is missing in some standard libraries.
        const std::string text = take().text;
        return std::make_unique<Constant>(at, Value(std::strtod(text.c_str(), nullptr)));
      }
      default:
        break;
    }
    if (skip_operator("(")) {
      ExpressionPtr inner = tuple(true, true);
      expect_operator(")");
      return inner;
    }
    if (skip_operator("[")) {
      auto node = std::make_unique<ListDisplay>(at);
      while (!is_operator("]")) {
        if (!node->items.empty()) {
          expect_operator(",");
          if (is_operator("]")) break;
        }
        node->items.push_back(expression());
        const Expression* child = node->items.back().get();
        node = sized(std::move(node), {child});
      }
      expect_operator("]");
      return node;
    }
    if (skip_operator("{")) {
      auto node = std::make_unique<DictDisplay>(at);
      while (!is_operator("}")) {
        if (!node->items.empty()) {
          expect_operator(",");
          if (is_operator("}")) break;
        }
        ExpressionPtr key = expression();
        expect_operator(":");
        node->items.emplace_back(std::move(key), expression());
        const Expression* a = node->items.back().first.get();
        const Expression* b = node->items.back().second.get();
        node = sized(std::move(node), {a, b});
      }
      expect_operator("}");
      return node;
    }
    unexpected("an expression");
  }

  static Value integer(std::string_view text, int at) {
    int base = 10;
    if (text.size() > 2 && text[0] == '0' && !(text[1] >= '0' && text[1] <= '9')) {
      const char letter = static_cast<char>(text[1] | 0x20);
      base = letter == 'x' ? 16 : letter == 'o' ? 8 : 2;
      text.remove_prefix(2);
    }
    const auto valid = [&](char c) {
      const int digit = c >= '0' && c <= '9' ? c - '0'
                        : (c | 0x20) >= 'a'  ? (c | 0x20) - 'a' + 10
                                             : 99;
      return digit < base;
    };
    if (text.empty() || !std::all_of(text.begin(), text.end(), valid))
      fail("line {}: number {} is malformed", at, text);
    if (text.size() > 4300) fail("line {}: an integer of {} digits is too long", at, text.size());
    return Value(BigInt::parse(text, base));
  }

  ExpressionPtr postfix(ExpressionPtr node) {
    for (;;) {
      const int at = line();
      if (skip_operator(".")) {
        if (token().kind == Kind::kInteger) {  // a.0 means a[0]
          auto subscript = std::make_unique<Subscript>(at);
          subscript->key = std::make_unique<Constant>(at, integer(take().text, at));
          subscript->object = std::move(node);
          const Expression* child = subscript->object.get();
          node = sized(std::move(subscript), {child});
          continue;
        }
        auto attribute = std::make_unique<Attribute>(at);
        attribute->name = expect_any_name();
        attribute->object = std::move(node);
        const Expression* child = attribute->object.get();
        node = sized(std::move(attribute), {child});
      } else if (skip_operator("[")) {
        node = subscript(std::move(node), at);
      } else if (is_operator("(")) {
        node = call(std::move(node), at);
      } else {
        return node;
      }
    }
  }

  ExpressionPtr subscript(ExpressionPtr object, int at) {
    ExpressionPtr start;
    if (!is_operator(":")) {
      start = expression();
      if (is_operator(",")) fail("line {}: an index may not hold a comma", at);
      if (skip_operator("]")) {
        auto node = std::make_unique<Subscript>(at);
        node->object = std::move(object);
        node->key = std::move(start);
        const Expression* a = node->object.get();
        const Expression* b = node->key.get();
        return sized(std::move(node), {a, b});
      }
    }
    auto node = std::make_unique<Slice>(at);
    node->object = std::move(object);
    node->start = std::move(start);
    expect_operator(":");
    if (!is_operator(":") && !is_operator("]")) node->stop = expression();
    if (skip_operator(":") && !is_operator("]")) node->step = expression();
    expect_operator("]");
    const Expression* children[] = {node->object.get(), node->start.get(), node->stop.get(),
                                    node->step.get()};
    return sized(std::move(node), {children[0], children[1], children[2], children[3]});
  }

  // Returns the depth of the deepest argument.
  int call_arguments(CallArguments& arguments) {
    int deepest = 0;
    const auto value = [&] {
      ExpressionPtr parsed = expression();
      deepest = std::max(deepest, parsed->depth);
      return parsed;
    };
    expect_operator("(");
    bool first = true;
    while (!is_operator(")")) {
      if (!first) {
        expect_operator(",");
        if (is_operator(")")) break;
      }
      first = false;
      if (skip_operator("**")) {
        if (arguments.double_star != nullptr) unexpected("one ** only");
        arguments.double_star = value();
      } else if (skip_operator("*")) {
        if (arguments.star != nullptr) unexpected("one * only");
        arguments.star = value();
      } else if (token().kind == Kind::kName && next_token().kind == Kind::kOperator &&
                 next_token().text == "=") {
        std::string name = take().text;
        take();
        arguments.named.emplace_back(std::move(name), value());
      } else {
        if (!arguments.named.empty()) unexpected("a named argument");
        arguments.positional.push_back(value());
      }
    }
    expect_operator(")");
    return deepest;
  }

  template <typename T>
  ExpressionPtr with_depth(std::unique_ptr<T> node, int deepest) {
    node->depth = std::max(node->depth, deepest + 1);
    if (node->depth > kDeepestNode)
      fail("line {}: expression nested more than {} deep", node->line, kDeepestNode);
    return node;
  }

  ExpressionPtr call(ExpressionPtr callee, int at) {
    auto node = std::make_unique<Call>(at);
    const int deepest = std::max(callee->depth, call_arguments(node->arguments));
    node->callee = std::move(callee);
    return with_depth(std::move(node), deepest);
  }

  ExpressionPtr filters_and_tests(ExpressionPtr node) {
    for (;;) {
      if (skip_operator("|")) {
        node = filter_call(std::move(node));
      } else if (is_name("is")) {
        node = test_call(std::move(node));
      } else if (is_operator("(")) {
        node = call(std::move(node), line());
      } else {
        return node;
      }
    }
  }

  std::string dotted_name() {
    std::string name = expect_any_name();
    while (skip_operator(".")) name += "." + expect_any_name();
    return name;
  }

  std::unique_ptr<FilterCall> filter_call(ExpressionPtr input) {
    const int at = line();
    auto node = std::make_unique<FilterCall>(at);
    node->name = dotted_name();
    node->filter = find_filter(node->name);
    int deepest = input == nullptr ? 0 : input->depth;
    node->input = std::move(input);
    if (is_operator("(")) deepest = std::max(deepest, call_arguments(node->arguments));
    node->depth = deepest + 1;
    if (node->depth > kDeepestNode)
      fail("line {}: expression nested more than {} deep", at, kDeepestNode);
    return node;
  }

  ExpressionPtr test_call(ExpressionPtr input) {
    const int at = take().line;  // is
    auto node = std::make_unique<TestCall>(at);
    node->negated = skip_name("not");
    const std::string name = dotted_name();
    node->test = find_test(name);
    node->name = name;
    int deepest = input->depth;
    node->input = std::move(input);
    const Kind kind = token().kind;
    if (is_operator("(")) {
      deepest = std::max(deepest, call_arguments(node->arguments));
    } else if (kind == Kind::kString || kind == Kind::kInteger || kind == Kind::kFloat ||
               is_operator("[") || is_operator("{") ||
               (kind == Kind::kName && !is_name("else") && !is_name("or") && !is_name("and"))) {
      // One argument may stand without brackets: x is divisibleby 3.
      if (is_name("is")) fail("line {}: tests can not be chained with is", at);
      // `x is defined if y`, `... recursive` and `... not in` go on with the outer expression.
      if (!is_name("if") && !is_name("not") && !is_name("in") && !is_name("recursive")) {
        node->arguments.positional.push_back(postfix(primary()));
        deepest = std::max(deepest, node->arguments.positional.back()->depth);
      }
    }
    return with_depth(std::move(node), deepest);
  }

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0;
  int loops_ = 0;
};

}  // namespace

std::unique_ptr<Node> parse(std::string_view source) { return Parser(source).run(); }

}  // namespace outboard::text::jinja
