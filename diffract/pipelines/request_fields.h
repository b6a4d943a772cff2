#pragma once
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "diffract/core/json.h"
#include "diffract/pipelines/request.h"

namespace diffract::pipelines {

/// One option of a request, declared here and nowhere else. The command line and JSON lines set it; a job's
/// fingerprint, the batches, an image's parameters, --help and docs/options.md are made from it.
struct RequestField {
  enum class Kind {
    texts,
    pictures,
    shared_pictures,  // for all images of the request
    integer,
    integers,
    number,
    numbers,          // a list, one option
    numbers_of_nets,  // given several times, one a ControlNet or IP-Adapter
    texts_of_nets,
    flag,
    seed,
    text,
    json,
    dtype,
    output
  };
  /// What two images that differ in it may share.
  enum class Scope {
    image,  // a batch: each image has its own
    batch,  // a job
    count,  // it says how many images there are, not what they look like
    job     // nothing: it is one value for all of a job
  };
  const char* name;          // diffusers' argument, "guidance_scale"; "-" and "_" are the same
  const char* alias;         // another name, "steps", or null
  const char* short_option;  // "-s", or null
  const char* help;
  Kind kind;
  Scope scope;
  /// Sets it to a value of its kind; null leaves it. Throws UsageError naming `where` and the key that the
  /// user wrote.
  void (*set)(Request& request, const Json& value, const std::string& where, const char* key);
  /// Null where it is unset or has no effect. Of texts: all of them, a list; of pictures: their hashes.
  Json (*get)(const Request& request);
  // Of numbers, inclusive. A model may take less.
  double low = -std::numeric_limits<double>::infinity(), high = std::numeric_limits<double>::infinity();
  std::vector<std::string> Request::*texts = nullptr;  // where they are kept, of Kind::texts
  bool several_each = false;                           // of pictures: a prompt may have several

  /// There is one of it for all prompts, or one each.
  bool is_list() const { return kind == Kind::texts || kind == Kind::pictures; }
  /// As the command line spells it: "--guidance-scale".
  std::string option() const;
};

std::span<const RequestField> request_fields();

/// Those of Kind::texts: a prompt, and what goes with it.
std::span<const RequestField* const> text_fields();

/// By name or alias, or null.
const RequestField* find_request_field(std::string_view name);
/// The same for a name that is known to be there.
const RequestField& request_field(std::string_view name);

/// Throws UsageError naming a number of the request that is out of its range.
void check_ranges(const Request& request);

}  // namespace diffract::pipelines
