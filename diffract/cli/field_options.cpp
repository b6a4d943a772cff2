#include "diffract/cli/field_options.h"

#include <algorithm>

#include "diffract/core/error.h"
#include "diffract/core/user_path.h"

namespace diffract::cli {
namespace {

using pipelines::Request;
using pipelines::RequestField;

}  // namespace

std::string names_of(const RequestField& field) {
  std::string names = field.option();
  if (field.short_option) names = std::string(field.short_option) + "," + names;
  if (field.alias) names += std::string(",--") + field.alias;
  return names;
}

namespace {

Json json_option(const std::string& text, const std::string& option) {
  try {
    return parse_json(text, option);
  } catch (const CheckpointError& error) {
    throw UsageError("{}", error.what());  // the option is the user's, not a model's
  }
}

}  // namespace

CLI::Option* add_field(CLI::App& app, const RequestField& field, Request& request) {
  const auto set = [&field, &request](const Json& value) {
    try {
      field.set(request, value, field.option(), field.name);
    } catch (const CheckpointError& error) {
      throw UsageError("{}", error.what());  // the option is the user's, not a model's
    }
  };
  const std::string names = names_of(field);
  switch (field.kind) {
    case RequestField::Kind::integer:
      return app.add_option_function<int64_t>(names, set, field.help);
    case RequestField::Kind::number:
      return app.add_option_function<double>(names, set, field.help);
    case RequestField::Kind::text:
      return app.add_option_function<std::string>(names, set, field.help);
    case RequestField::Kind::texts:
      return add_texts(app, names, set, field.help);
    case RequestField::Kind::dtype:
      return app.add_option_function<std::string>(names, set, field.help);
    case RequestField::Kind::json:
      return app.add_option_function<std::string>(
          names,
          [&field, set](const std::string& text) {
            if (!text.empty()) set(json_option(text, field.option()));
          },
          field.help);
    case RequestField::Kind::output:
      return app.add_option_function<std::string>(names, set, field.help)
          ->check(CLI::IsMember({"png", "latent"}));
    case RequestField::Kind::seed:
      break;
  }
  throw InternalError("{}: is no option of its own", field.name);
}

CLI::Option* add_field(CLI::App& app, const loading::LoadField& field, loading::LoadTexts& given,
                       const std::string& help) {
  using Kind = loading::LoadField::Kind;
  std::string name = std::string("--") + field.name;
  std::replace(name.begin(), name.end(), '_', '-');
  const std::string& text = help.empty() ? field.help : help;
  if (field.kind == Kind::flag)
    return app.add_flag_callback(
        name, [&field, &given] { given[field.name] = "true"; }, text);
  const auto keep = [&field, &given](const std::string& value) {
    if (field.kind == Kind::path)
      given[field.name] = expand_home(value);
    else if (field.kind == Kind::dtype)
      given[field.name] = tensor::dtype_name(tensor::parse_dtype(value));  // torch's spelling of it
    else
      given[field.name] = value;
  };
  auto* option = app.add_option_function<std::string>(name, keep, text);
  return field.default_text ? option->default_str(field.default_text) : option;
}

}  // namespace diffract::cli
