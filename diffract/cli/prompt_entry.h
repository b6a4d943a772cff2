#pragma once
#include <string>

#include "diffract/core/json.h"
#include "diffract/pipelines/job.h"

namespace diffract::cli {

/// A prompt of a JSON file: a text, or an object with "prompt" and any of the per-picture options, named as
/// on the command line (negative_prompt, prompt-2, seed, steps, guidance_scale, height, ...); docs/jobs.md
/// lists them. `shared` holds what it does not say, `where` names it in messages. Throws UsageError.
pipelines::JobEntry prompt_entry(const Json& item, const std::string& where,
                                 const pipelines::Request& shared);

/// Throws UsageError for a zero byte: the command line cannot hold one, and a PNG's text would end there.
void refuse_zero_byte(std::string_view text, const std::string& where);

}  // namespace diffract::cli
