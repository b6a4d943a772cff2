#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "diffract/pipelines/request.h"

namespace diffract::jobs {

/// The prompts of a file, a pipe or the standard input ("-"), in one of three forms:
///   text     one a line, as it stands
///   jsonl    one a line in JSON
///   json     a JSON list of prompts, or a single one
/// A prompt in JSON is what prompt_entry reads. Without `format` the name tells (.json, .jsonl, .ndjson),
/// else the content: what begins as a JSON list or object does. Lines end with LF, CR LF or CR; those of
/// white space are left out, and so is a byte order mark. `shared` holds what a prompt does not say. Throws
/// UsageError naming the line.
std::vector<pipelines::Request> load_prompts(const std::filesystem::path& file, const std::string& format,
                                             const pipelines::Request& shared);

/// Throws UsageError where the file can be read once only and `world_size` processes would read it, or one
/// that is started again.
void require_shared_prompts(const std::filesystem::path& file, int world_size, bool may_start_again);

}  // namespace diffract::jobs
