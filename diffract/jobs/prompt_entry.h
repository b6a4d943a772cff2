#pragma once
#include <string>

#include "diffract/core/json.h"
#include "diffract/pipelines/request.h"

namespace diffract::jobs {

/// A prompt of a JSON file: a text, or an object with "prompt" and any of the request's fields but those of a
/// whole job, named as on the command line (pipelines/request_fields.h; docs/options.md lists them). `shared`
/// holds what it does not say, `where` names it in messages. Throws UsageError.
pipelines::Request prompt_entry(const Json& item, const std::string& where, const pipelines::Request& shared);

}  // namespace diffract::jobs
