#include "diffract/cli/field_options.h"

#include "diffract/core/dashed_option.h"
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

CLI::Option* add_field(CLI::App& app, const RequestField& field, Request& request) {
  const bool is_json = field.kind == RequestField::Kind::json;
  const auto set = [&field, &request, is_json](const Json& value) {
    try {
      field.set(request, is_json ? parse_json(value.get<std::string>(), field.option()) : value,
                field.option(), field.name);
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
    case RequestField::Kind::integers:
    case RequestField::Kind::text:
    case RequestField::Kind::dtype:
    case RequestField::Kind::numbers:
      return app.add_option_function<std::string>(names, set, field.help);
    case RequestField::Kind::texts:
    case RequestField::Kind::pictures:
    case RequestField::Kind::shared_pictures:
    case RequestField::Kind::numbers_of_nets:
    case RequestField::Kind::texts_of_nets:
      return add_texts(app, names, set, field.help);
    case RequestField::Kind::flag:
      return app.add_flag_callback(
          names, [set] { set(true); }, field.help);
    case RequestField::Kind::json:
      return app.add_option_function<std::string>(
          names,
          [set](const std::string& text) {
            if (!text.empty()) set(text);
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
  const std::string name = dashed_option(field.name);
  const std::string& text = help.empty() ? field.help : help;
  if (field.kind == Kind::flag)
    return app.add_flag_callback(
        name, [&field, &given] { given[field.name] = "true"; }, text);
  if (field.kind == Kind::paths)
    return add_texts(
        app, name,
        [&field, &given](const Json& values) {
          std::string lines;
          for (const Json& value : values) lines += expand_home(value.get<std::string>()) + '\n';
          given[field.name] = lines;
        },
        text);
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
