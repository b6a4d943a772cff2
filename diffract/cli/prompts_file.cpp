#include "diffract/cli/prompts_file.h"

#include <fmt/format.h>
#include <algorithm>
#include <limits>
#include <map>

#include "diffract/core/error.h"
#include "diffract/core/file.h"
#include "diffract/core/json.h"

namespace diffract::cli {
namespace {

constexpr uint64_t kMaxBytes = 64 << 20;
constexpr int64_t kMostInteger = std::numeric_limits<int64_t>::max();
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";  // some editors begin UTF-8 files with it

using Setter = void (*)(pipelines::JobEntry&, const ConfigReader&, const char*);

// Range checks belong to the pipeline, which makes them for every way in; here only the type is checked.
template <auto kMember>
void set_integer(pipelines::JobEntry& entry, const ConfigReader& line, const char* key) {
  entry.request.*kMember = line.integer(key, -kMostInteger, kMostInteger);
}

template <auto kMember>
void set_number(pipelines::JobEntry& entry, const ConfigReader& line, const char* key) {
  entry.request.*kMember = line.number(key, -1e300, 1e300);
}

// The command line cannot hold a zero byte; what it would end early, a PNG's text among it, is refused here.
void refuse_zero_byte(std::string_view text, const std::string& where) {
  if (const size_t at = text.find('\0'); at != std::string_view::npos)
    throw UsageError("{}: the text has a zero byte, at byte {} of it; a prompt cannot hold one", where, at);
}

template <auto kMember>
void set_text(pipelines::JobEntry& entry, const ConfigReader& line, const char* key) {
  std::string text = line.text(key);
  refuse_zero_byte(text, fmt::format("{}: \"{}\"", line.source(), key));
  entry.request.*kMember = {std::move(text)};
}

void set_seed(pipelines::JobEntry& entry, const ConfigReader& line, const char* key) {
  const Json& seed = line.json()[key];
  if (!seed.is_number_unsigned())
    throw UsageError("{}: \"{}\" is {}; expected a whole number from 0 to {}", line.source(), key,
                     excerpt(seed), std::numeric_limits<uint64_t>::max());
  entry.own_seed = seed.get<uint64_t>();
}

struct Key {
  const char* name;
  Setter set;
};

using pipelines::Request;
constexpr Key kKeys[] = {
    {"prompt", set_text<&Request::prompt>},
    {"prompt_2", set_text<&Request::prompt_2>},
    {"negative_prompt", set_text<&Request::negative_prompt>},
    {"num_inference_steps", set_integer<&Request::num_inference_steps>},
    {"steps", set_integer<&Request::num_inference_steps>},
    {"guidance_scale", set_number<&Request::guidance_scale>},
    {"true_cfg_scale", set_number<&Request::true_cfg_scale>},
    {"guidance_rescale", set_number<&Request::guidance_rescale>},
    {"height", set_integer<&Request::height>},
    {"width", set_integer<&Request::width>},
    {"clip_skip", set_integer<&Request::clip_skip>},
    {"max_sequence_length", set_integer<&Request::max_sequence_length>},
    {"eta", set_number<&Request::eta>},
    {"num_images_per_prompt", set_integer<&Request::num_images_per_prompt>},
    {"seed", set_seed},
};

// "-" and "_" are the same, as on the command line.
const Key* find_key(std::string name) {
  std::replace(name.begin(), name.end(), '-', '_');
  const auto* key =
      std::find_if(std::begin(kKeys), std::end(kKeys), [&](const Key& k) { return name == k.name; });
  return key == std::end(kKeys) ? nullptr : key;
}

}  // namespace

pipelines::JobEntry parse_prompt_line(std::string_view line, const std::string& where,
                                      const Request& shared) {
  pipelines::JobEntry entry{.request = shared};
  try {
    const ConfigReader reader(parse_json(line, where), where);
    std::map<Setter, std::string> given;
    for (const auto& item : reader.json().items()) {
      const Key* key = find_key(item.key());
      if (!key) throw UsageError("{}: \"{}\" is not an option of a picture", where, item.key());
      if (item.value().is_null()) continue;
      if (const auto [other, is_new] = given.emplace(key->set, item.key()); !is_new)
        throw UsageError("{}: \"{}\" and \"{}\" are the same option", where, other->second, item.key());
      key->set(entry, reader, item.key().c_str());
    }
  } catch (const CheckpointError& error) {
    throw UsageError("{}", error.what());  // the file is the user's, not a model's
  }
  if (entry.request.prompt.empty()) throw UsageError("{}: has no \"prompt\"", where);
  return entry;
}

std::vector<pipelines::JobEntry> load_prompts(const std::filesystem::path& file, const Request& shared) {
  std::string text;
  try {
    text = load_text(file, kMaxBytes);
  } catch (const CheckpointError& error) {
    throw UsageError("--prompts-file {}", error.what());
  }
  const bool json_lines = file.extension() == ".jsonl";
  std::vector<pipelines::JobEntry> entries;
  size_t number = 0;
  for (size_t begin = text.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line(text.data() + begin, end - begin);
    begin = end + 1;
    ++number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    const std::string where = fmt::format("{}:{}", file.string(), number);
    if (json_lines) {
      entries.push_back(parse_prompt_line(line, where, shared));
    } else {
      refuse_zero_byte(line, where);
      entries.push_back({.request = shared});
      entries.back().request.prompt = {std::string(line)};
    }
  }
  if (entries.empty()) throw UsageError("--prompts-file {}: has no prompts", file.string());
  return entries;
}

}  // namespace diffract::cli
