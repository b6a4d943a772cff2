#include "diffract/cli/prompt_entry.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <map>

#include "diffract/cli/foreign_names.h"
#include "diffract/core/error.h"

namespace diffract::cli {
namespace {

constexpr int64_t kMostInteger = std::numeric_limits<int64_t>::max();

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

[[noreturn]] void fail_unknown(const std::string& key, const std::string& where) {
  std::vector<std::string> known, options;
  for (const Key& one : kKeys) {
    known.emplace_back(one.name);
    options.push_back("--" + known.back());
    std::replace(options.back().begin(), options.back().end(), '_', '-');
  }
  std::string hint = hint_for(key, foreign_options(), known);
  if (!can_be_followed(hint, options)) hint += ", for the whole job";  // which a line cannot say
  throw UsageError("{}: \"{}\" is not an option of a picture{}{} There are {}", where, key, hint,
                   hint.ends_with('?') ? "" : ".", fmt::join(known, ", "));
}

}  // namespace

void refuse_zero_byte(std::string_view text, const std::string& where) {
  if (const size_t at = text.find('\0'); at != std::string_view::npos)
    throw UsageError("{}: the text has a zero byte, at byte {} of it; a prompt cannot hold one", where, at);
}

pipelines::JobEntry prompt_entry(const Json& item, const std::string& where, const Request& shared) {
  pipelines::JobEntry entry{.request = shared};
  if (item.is_string()) {
    refuse_zero_byte(item.get_ref<const std::string&>(), where);
    entry.request.prompt = {item.get<std::string>()};
    return entry;
  }
  if (!item.is_object())
    throw UsageError("{}: is {}; expected a prompt, or an object with \"prompt\"", where, excerpt(item));
  try {
    const ConfigReader reader(item, where);
    std::map<Setter, std::string> given;
    for (const auto& [name, value] : item.items()) {
      const Key* key = find_key(name);
      if (!key) fail_unknown(name, where);
      if (value.is_null()) continue;
      if (const auto [other, is_new] = given.emplace(key->set, name); !is_new)
        throw UsageError("{}: \"{}\" and \"{}\" are the same option", where, other->second, name);
      key->set(entry, reader, name.c_str());
    }
  } catch (const CheckpointError& error) {
    throw UsageError("{}", error.what());  // the file is the user's, not a model's
  }
  if (entry.request.prompt.empty()) throw UsageError("{}: has no \"prompt\"", where);
  return entry;
}

}  // namespace diffract::cli
