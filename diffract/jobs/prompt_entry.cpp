#include "diffract/jobs/prompt_entry.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>

#include "diffract/core/error.h"
#include "diffract/jobs/foreign_names.h"
#include "diffract/pipelines/field_values.h"
#include "diffract/pipelines/request_fields.h"

namespace diffract::jobs {
namespace {

using pipelines::Request;
using pipelines::RequestField;

[[noreturn]] void fail_unknown(const std::string& key, const std::string& where) {
  std::vector<std::string> known, options;
  for (const RequestField& field : pipelines::request_fields()) {
    if (field.scope == RequestField::Scope::job) continue;
    known.emplace_back(field.name);
    options.push_back(field.option());
    if (field.alias) known.emplace_back(field.alias);
    if (field.alias) options.push_back(std::string("--") + field.alias);
  }
  std::string hint = hint_for(key, foreign_options(), known);
  if (!can_be_followed(hint, options)) hint += ", for the whole job";  // which a line cannot say
  throw UsageError("{}: \"{}\" is not an option of a picture{}{} There are {}", where, key, hint,
                   hint.ends_with('?') ? "" : ".", fmt::join(known, ", "));
}

void set(Request& request, const RequestField& field, const Json& value, const std::string& where,
         const std::string& name) {
  if (field.is_list() && !field.several_each && !value.is_string())  // a list is several prompts
    throw UsageError("{}: \"{}\" is {}; expected a text", where, name, excerpt(value));
  field.set(request, value, where, name.c_str());
}

}  // namespace

Request prompt_entry(const Json& item, const std::string& where, const Request& shared) {
  Request entry = shared;
  if (!item.is_string() && !item.is_object())
    throw UsageError("{}: is {}; expected a prompt, or an object with \"prompt\"", where, excerpt(item));
  if (item.is_string()) {
    pipelines::refuse_zero_byte(item.get_ref<const std::string&>(), where);
    entry.prompt = {item.get<std::string>()};
    return entry;
  }
  std::map<const RequestField*, std::string> given;
  for (const auto& [name, value] : item.items()) {
    const RequestField* field = pipelines::find_request_field(name);
    if (!field || field->scope == RequestField::Scope::job) fail_unknown(name, where);
    if (value.is_null()) continue;
    if (const auto [other, is_new] = given.emplace(field, name); !is_new)
      throw UsageError("{}: \"{}\" and \"{}\" are the same option", where, other->second, name);
    try {
      set(entry, *field, value, where, name);
    } catch (const CheckpointError& error) {
      throw UsageError("{}", error.what());  // the file is the user's, not a model's
    }
  }
  if (entry.prompt.empty()) throw UsageError("{}: has no \"prompt\"", where);
  return entry;
}

}  // namespace diffract::jobs
