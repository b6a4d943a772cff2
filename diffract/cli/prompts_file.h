#pragma once
#include <filesystem>
#include <string_view>
#include <vector>

#include "diffract/pipelines/job.h"

namespace diffract::cli {

/// The prompts of a file: one a line, or, when its name ends in .jsonl, one JSON object a line with "prompt"
/// and any of the per-picture options, named as on the command line (negative_prompt, prompt-2, seed, steps,
/// guidance_scale, height, ...). A byte order mark is passed over. `shared` holds what a line does not say.
/// Empty lines are left out. Throws UsageError naming the line.
std::vector<pipelines::JobEntry> load_prompts(const std::filesystem::path& file,
                                              const pipelines::Request& shared);

/// One line of a .jsonl file; `where` names it in messages.
pipelines::JobEntry parse_prompt_line(std::string_view line, const std::string& where,
                                      const pipelines::Request& shared);

}  // namespace diffract::cli
