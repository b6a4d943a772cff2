#include "diffract/jobs/manifest.h"

#include <map>

#include "diffract/core/file.h"
#include "diffract/core/log.h"

namespace diffract::jobs {
namespace {

constexpr uint64_t kMaxBytes = uint64_t{1} << 32;
constexpr int64_t kMostInteger = std::numeric_limits<int64_t>::max();

// Calls sound(line, entry) and damaged(number) along the text of a file.
template <typename Sound, typename Damaged>
void walk(const std::string& text, const std::filesystem::path& file, Sound&& sound, Damaged&& damaged) {
  size_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line(text.data() + begin, end - begin);
    begin = end + 1;
    ++number;
    if (line.empty()) continue;
    try {
      sound(line, ManifestEntry::parse(line, fmt::format("{}:{}", file.string(), number)));
    } catch (const CheckpointError& error) {
      log::debug("{}", error.what());
      damaged(number);
    }
  }
}

}  // namespace

std::string ManifestEntry::line() const {
  Json json = {{"index", index}, {"prompt", prompt}, {"seed", seed}};
  json["parameters"] = Json::parse(parameters);
  json["rank"] = rank;
  if (threads > 0) json["threads"] = threads;
  if (failed()) {
    json["error"] = {{"kind", error_kind}, {"message", message}};
  } else {
    json["file"] = file;
    json["sha256"] = sha256;
    if (nsfw_content_detected) json[kNsfwKey] = *nsfw_content_detected;
  }
  return json_text(json);
}

ManifestEntry ManifestEntry::parse(std::string_view line, const std::string& source) {
  const ConfigReader reader(parse_json(line, source), source);
  ManifestEntry entry{.index = static_cast<size_t>(reader.integer("index", 0, kMostInteger)),
                      .prompt = reader.text("prompt"),
                      .rank = reader.integer("rank", 0, kMostInteger),
                      .threads = reader.has("threads") ? reader.integer("threads", 0, kMostInteger) : 0};
  const Json& json = reader.json();
  if (!json.contains("seed") || !json["seed"].is_number_unsigned())
    throw CheckpointError("{}: has no \"seed\"", source);
  entry.seed = json["seed"].get<uint64_t>();  // all 64 bits
  if (!json.contains("parameters") || !json["parameters"].is_object())
    throw CheckpointError("{}: has no \"parameters\"", source);
  entry.parameters = json_text(json["parameters"]);
  if (reader.has("error")) {
    const ConfigReader error(json["error"], source);
    entry.error_kind = error.text("kind");
    entry.message = error.text("message");
    return entry;
  }
  entry.file = reader.text("file");
  entry.sha256 = reader.text("sha256");
  if (reader.has(kNsfwKey)) entry.nsfw_content_detected = reader.boolean(kNsfwKey);
  if (entry.file.empty()) throw CheckpointError("{}: \"file\" is empty", source);
  return entry;
}

Manifest::Entries Manifest::load() const {
  Entries entries;
  if (std::error_code ignored; !std::filesystem::exists(file(), ignored)) return entries;
  size_t damaged_lines = 0, first = 0;
  walk(
      load_text(file(), kMaxBytes), file(),
      [&](std::string_view, ManifestEntry entry) { entries[entry.index].push_back(std::move(entry)); },
      [&](size_t number) {
        if (damaged_lines++ == 0) first = number;
      });
  if (damaged_lines > 0)
    log::warning("{}: {} damaged lines, the first is line {}; their pictures are checked themselves",
                 file().string(), damaged_lines, first);
  return entries;
}

void Manifest::forget(const std::function<bool(const ManifestEntry& entry)>& is_meant) {
  log_.rewrite([&](const std::string& text) {
    std::map<std::pair<size_t, std::string>, size_t>
        last;  // the line that counts, where a picture has several
    size_t number = 0;
    const auto note = [&](std::string_view, const ManifestEntry& entry) {
      last[{entry.index, entry.file}] = number++;
    };
    walk(text, file(), note, [](size_t) {});
    std::string kept;
    number = 0;
    const auto keep = [&](std::string_view line, const ManifestEntry& entry) {
      const std::pair picture(entry.index, entry.file);
      const bool counts = last.at(picture) == number++;
      if (counts && !entry.failed() && !is_meant(entry)) kept.append(line).append("\n");
    };
    walk(text, file(), keep, [](size_t) {});
    return kept;
  });
}

}  // namespace diffract::jobs
