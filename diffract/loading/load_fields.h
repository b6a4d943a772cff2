#pragma once
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "diffract/core/json.h"
#include "diffract/loading/load_options.h"

namespace diffract::loading {

/// One option of how a model is loaded, declared here and nowhere else: the command line's options, what an
/// image's parameters say of them, a job's fingerprint and docs/options.md are made from it.
struct LoadField {
  enum class Kind { text, path, paths, dtype, flag };  // paths: given several times, kept one a line
  /// What depends on it.
  enum class Scope {
    images,     // what the images look like
    placement,  // where weights are; over ranks all processes must agree
    process     // nothing that another process, or an image, would see
  };
  const char* name;  // "compute_dtype"; the command line spells it with "-"
  const char* help;
  Kind kind;
  Scope scope;
  const char* default_text;  // what --help shows; null: nothing
  /// `local_rank`: of this process on its host, which decides about a device without a number.
  void (*set)(LoadOptions& options, const std::string& text, int local_rank);
  /// What an image's parameters say of the text; null: the text.
  Json (*parameters)(const std::string& text) = nullptr;
};

std::span<const LoadField> load_fields();
/// Throws InternalError for a name that is not there.
const LoadField& load_field(std::string_view name);

/// The fields that were given, as texts; a flag is "true".
using LoadTexts = std::map<std::string, std::string>;

/// Throws UsageError for a text that is none of its field's values.
LoadOptions load_options(const LoadTexts& given, int local_rank);
/// The fields of a scope that were given, in the order of load_fields().
Json load_parameters(const LoadTexts& given, LoadField::Scope scope);
/// A field's text; empty where it was not given.
std::string given_text(const LoadTexts& given, const char* name);

}  // namespace diffract::loading
