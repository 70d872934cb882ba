// The comparisons of one type, in terms of COMPARE. Included before operations.def, wherever that
// is; no guard on purpose.
#ifndef COMPARE_FLOAT
#define COMPARE_FLOAT(type, ...)                                     \
  COMPARE(F##type, 0, __VA_ARGS__<0>)                                \
  COMPARE(Lt##type, 0, __VA_ARGS__<kLess>)                           \
  COMPARE(Eq##type, 0, __VA_ARGS__<kEqual>)                          \
  COMPARE(Le##type, 0, __VA_ARGS__<kLess | kEqual>)                  \
  COMPARE(Gt##type, 0, __VA_ARGS__<kGreater>)                        \
  COMPARE(Lg##type, 0, __VA_ARGS__<kLess | kGreater>)                \
  COMPARE(Ge##type, 0, __VA_ARGS__<kGreater | kEqual>)               \
  COMPARE(O##type, 0, __VA_ARGS__<kLess | kEqual | kGreater>)        \
  COMPARE(U##type, 0, __VA_ARGS__<kUnordered>)                       \
  COMPARE(Nge##type, 0, __VA_ARGS__<kUnordered | kLess>)             \
  COMPARE(Nlg##type, 0, __VA_ARGS__<kUnordered | kEqual>)            \
  COMPARE(Ngt##type, 0, __VA_ARGS__<kUnordered | kLess | kEqual>)    \
  COMPARE(Nle##type, 0, __VA_ARGS__<kUnordered | kGreater>)          \
  COMPARE(Neq##type, 0, __VA_ARGS__<kUnordered | kLess | kGreater>)  \
  COMPARE(Nlt##type, 0, __VA_ARGS__<kUnordered | kGreater | kEqual>) \
  COMPARE(T##type, 0, __VA_ARGS__<kUnordered | kLess | kEqual | kGreater>)
#define COMPARE_INT16(type, body, c)              \
  COMPARE(Lt##type, 0, body<c, kLess>)            \
  COMPARE(Eq##type, 0, body<c, kEqual>)           \
  COMPARE(Le##type, 0, body<c, kLess | kEqual>)   \
  COMPARE(Gt##type, 0, body<c, kGreater>)         \
  COMPARE(Ne##type, 0, body<c, kLess | kGreater>) \
  COMPARE(Ge##type, 0, body<c, kGreater | kEqual>)
#define COMPARE_INT(type, body, c) \
  COMPARE_INT16(type, body, c)     \
  COMPARE(F##type, 0, body<c, 0>)  \
  COMPARE(T##type, 0, body<c, kLess | kEqual | kGreater>)
#endif
