// All filters by name; internal to the Jinja engine.
#pragma once

#include "text/jinja/interpreter.h"

namespace outboard::text::jinja {

using Given = const Arguments&;

Value filter_abs(Interpreter&, const Value&, Given);
Value filter_capitalize(Interpreter&, const Value&, Given);
Value filter_center(Interpreter&, const Value&, Given);
Value filter_escape(Interpreter&, const Value&, Given);
Value filter_filesizeformat(Interpreter&, const Value&, Given);
Value filter_float(Interpreter&, const Value&, Given);
Value filter_forceescape(Interpreter&, const Value&, Given);
Value filter_format(Interpreter&, const Value&, Given);
Value filter_indent(Interpreter&, const Value&, Given);
Value filter_int(Interpreter&, const Value&, Given);
Value filter_lower(Interpreter&, const Value&, Given);
Value filter_pprint(Interpreter&, const Value&, Given);
Value filter_replace(Interpreter&, const Value&, Given);
Value filter_round(Interpreter&, const Value&, Given);
Value filter_safe(Interpreter&, const Value&, Given);
Value filter_string(Interpreter&, const Value&, Given);
Value filter_striptags(Interpreter&, const Value&, Given);
Value filter_title(Interpreter&, const Value&, Given);
Value filter_tojson(Interpreter&, const Value&, Given);
Value filter_trim(Interpreter&, const Value&, Given);
Value filter_truncate(Interpreter&, const Value&, Given);
Value filter_upper(Interpreter&, const Value&, Given);
Value filter_urlencode(Interpreter&, const Value&, Given);
Value filter_wordcount(Interpreter&, const Value&, Given);
Value filter_wordwrap(Interpreter&, const Value&, Given);
Value filter_xmlattr(Interpreter&, const Value&, Given);

}  // namespace outboard::text::jinja
