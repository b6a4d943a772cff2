#include "diffract/jobs/prompts_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "diffract/core/error.h"
#include "diffract/core/file.h"
#include "diffract/core/log.h"
#include "diffract/core/utf8.h"
#include "diffract/io/png.h"
#include "diffract/jobs/prompt_entry.h"
#include "diffract/pipelines/field_values.h"
#include "diffract/pipelines/request_fields.h"
#include "diffract/text/unicode.h"

namespace diffract::jobs {
namespace fs = std::filesystem;
namespace {

using pipelines::Request;

constexpr uint64_t kMaxBytes = 64 << 20;
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";  // some editors begin UTF-8 files with it
constexpr std::string_view kBlanks = " \t\n\r\f\v";

enum class Form { text, json_lines, json };

std::string load(const fs::path& file) {
  if (file == "-" && ::isatty(STDIN_FILENO) == 1)
    log::info("reading prompts from the terminal, one a line; Ctrl-D behind the last");
  try {
    std::string text = load_text_or_stream(file, kMaxBytes);
    if (text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff"))
      throw UsageError("--prompts-file {}: is UTF-16; save it as UTF-8", file.string());
    if (text.starts_with(kByteOrderMark)) text.erase(0, kByteOrderMark.size());
    return text;
  } catch (const CheckpointError& error) {
    throw UsageError("--prompts-file {}", error.what());
  }
}

// Calls take(line, its number) for each line that is not white space.
template <typename Take>
void each_line(std::string_view text, const fs::path& file, Take&& take) {
  size_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find_first_of("\r\n", begin), text.size());
    const std::string_view line = text.substr(begin, end - begin);
    begin = end + (text.substr(end).starts_with("\r\n") ? 2 : 1);
    const std::string where = fmt::format("{}:{}", file.string(), ++number);
    if (const size_t valid = valid_utf8_bytes(line); valid < line.size())
      throw UsageError("{}: byte {} of the line is not UTF-8; save the file as UTF-8", where, valid);
    const std::u32string characters = text::decode_utf8(line);
    if (!std::all_of(characters.begin(), characters.end(), text::is_space)) take(line, where);
  }
}

// Whether a text begins as JSON does, and not as "[a|b] in the rain" or "{red|blue} car", which are prompts.
bool begins_as_json(std::string_view text) {
  const size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos || (text[first] != '[' && text[first] != '{')) return false;
  const size_t second = std::min(text.find_first_not_of(kBlanks, first + 1), text.size());
  const std::string_view rest = text.substr(second);
  return rest.starts_with('"') || rest.starts_with(text[first] == '[' ? ']' : '}') ||
         (text[first] == '[' && rest.starts_with('{'));
}

// A list, or an object over several lines, is one JSON text.
Form json_form(std::string_view text, bool named_lines) {
  const size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return Form::json_lines;
  if (text[first] == '[') return Form::json;
  const std::string_view line = text.substr(first, text.find_first_of("\r\n", first) - first);
  const bool whole = line[line.find_last_not_of(kBlanks)] == '}';
  return named_lines || whole ? Form::json_lines : Form::json;
}

Form form_of(const fs::path& file, const std::string& format, std::string_view text) {
  if (format == "text") return Form::text;
  if (format == "jsonl") return Form::json_lines;
  if (format == "json") return Form::json;
  for (const char* other : {".csv", ".tsv", ".yaml", ".yml", ".toml", ".parquet"})
    if (io::has_suffix(file, other))
      throw UsageError(
          "--prompts-file {}: {} is not read; expected a prompt a line, JSON lines, or a JSON list. "
          "--prompts-format text takes its lines as they stand",
          file.string(), other);
  const bool named_lines = io::has_suffix(file, ".jsonl") || io::has_suffix(file, ".ndjson");
  if (named_lines || io::has_suffix(file, ".json") || begins_as_json(text))
    return json_form(text, named_lines);
  return Form::text;
}

Json parse(std::string_view text, const std::string& where) {
  try {
    return parse_json(text, where);
  } catch (const CheckpointError& error) {  // the file is the user's, not a model's
    throw UsageError("{}. If its lines are meant as they stand: --prompts-format text", error.what());
  }
}

std::vector<Request> list_of(const Json& whole, const std::string& file, const Request& shared) {
  if (!whole.is_array()) return {prompt_entry(whole, file, shared)};
  std::vector<Request> entries;
  for (const Json& item : whole)
    entries.push_back(prompt_entry(item, fmt::format("{}: prompt {}", file, entries.size() + 1), shared));
  return entries;
}

}  // namespace

std::vector<Request> load_prompts(const fs::path& file, const std::string& format, const Request& shared) {
  const std::string text = load(file);
  const Form form = form_of(file, format, text);
  std::vector<Request> entries;
  if (form == Form::json && text.find_first_not_of(kBlanks) != std::string::npos)
    entries = list_of(parse(text, file.string()), file.string(), shared);
  if (form != Form::json)
    each_line(text, file, [&](std::string_view line, const std::string& where) {
      if (form == Form::json_lines) {
        entries.push_back(prompt_entry(parse(line, where), where, shared));
        return;
      }
      pipelines::refuse_zero_byte(line, where);
      entries.push_back(shared);
      entries.back().prompt = {std::string(line)};
    });
  if (entries.empty()) throw UsageError("--prompts-file {}: has no prompts", file.string());
  return entries;
}

void require_shared_prompts(const fs::path& file, int world_size, bool may_start_again) {
  if (file.empty() || !is_stream(file)) return;
  if (world_size > 1)
    throw UsageError(
        "--prompts-file {}: is a pipe, which the {} processes of this job cannot share, as each would read a "
        "part of it. Write the prompts into a file and name that",
        file.string(), world_size);
  if (may_start_again)
    throw UsageError(
        "--prompts-file {}: is a pipe, which is empty when the launcher starts this process again. Write the "
        "prompts into a file and name that, or launch without restarts",
        file.string());
}

}  // namespace diffract::jobs
