#include "diffract/jobs/job_folder.h"

#include <algorithm>
#include <set>
#include <unordered_map>

#include "diffract/core/file.h"
#include "diffract/core/log.h"
#include "diffract/io/picture.h"
#include "diffract/io/png.h"
#include "diffract/io/sha256.h"

namespace diffract::jobs {
namespace fs = std::filesystem;
namespace {

bool is_file(const std::string& file) {
  std::error_code ignored;
  return fs::is_regular_file(file, ignored);
}

bool has_hash(const std::string& file, const std::string& sha256) {
  try {
    return is_file(file) && io::sha256_of_file(file) == sha256;
  } catch (const IoError& error) {
    log::warning("{}; the picture is made anew", error.what());
    return false;
  }
}

// True for a sound picture that says itself that it was made with these parameters; then the entry learns
// what else it says.
bool says_itself(const std::string& file, ManifestEntry& wanted) {
  if (!is_file(file)) return false;
  bool is_same = false;
  std::optional<bool> nsfw;
  try {
    for (const auto& text : io::load_png(file).texts) {
      is_same = is_same || (text.key == kParametersKey && text.value == wanted.parameters);
      if (text.key == kNsfwKey) nsfw = text.value == "true";
    }
  } catch (const Error&) {
    return false;  // not one of our pictures: it is made anew and replaces this file
  }
  if (is_same) wanted.nsfw_content_detected = nsfw;
  return is_same;
}

}  // namespace

JobFolder::JobFolder(Naming naming)
    : naming_(std::move(naming)),
      manifest_(naming_.folder / kManifestName),
      names_(naming_.file, naming_.world_size) {}

std::string JobFolder::relative(const std::string& file) const {
  return fs::path(file).lexically_normal().lexically_relative(naming_.folder.lexically_normal()).string();
}

void JobFolder::note(const ManifestEntry& entry) {
  if (naming_.with_manifest) manifest_.append(entry);
}

// Whichever rank's they were: a picture may have been another process's before a restart.
void JobFolder::forget(const std::vector<JobBatch>& batches) {
  std::unordered_map<size_t, const JobImage*> images;
  for (const auto& batch : batches)
    for (const auto& image : batch.images) images[image.index] = &image;
  manifest_.forget([&](const ManifestEntry& entry) {
    const auto image = images.find(entry.index);
    return image != images.end() && entry.file == relative(naming_.file(*image->second, entry.rank));
  });
}

// Not the manifest's, which another host may be rewriting: it cleans up itself.
void JobFolder::remove_leftovers(const std::vector<JobBatch>& batches) const {
  std::set<std::string> names;
  std::set<fs::path> folders;
  const auto add = [&](const fs::path& file) {
    names.insert((file.parent_path() / file.filename()).string());
    folders.insert(file.parent_path());
  };
  for (const auto& batch : batches)
    for (const auto& image : batch.images) {
      if (names_.readable()) add(names_.with_place(image));
      for (int64_t rank = 0; !names_.readable() && rank < naming_.world_size; ++rank)
        add(naming_.file(image, rank));
    }
  diffract::remove_leftovers(folders, [&](const fs::path& destination) {
    if (!names_.readable()) return names.count(destination.string()) > 0;
    const auto readings = names_.readings(destination);
    return std::any_of(readings.begin(), readings.end(),
                       [&](const auto& text) { return names.count(text) > 0; });
  });
}

std::string JobFolder::parameters_of(const JobBatch& batch, const JobImage& image) const {
  return json_text(naming_.parameters(batch, image));
}

ManifestEntry JobFolder::entry_of(const JobImage& image, std::string parameters, int64_t rank) const {
  return {.index = image.index,
          .seed = image.seed,
          .prompt = image.prompt,
          .parameters = std::move(parameters),
          .rank = rank};
}

Json JobFolder::summary(const ManifestEntry& entry) const {
  Json summary = {
      {"index", entry.index},
      {"prompt", entry.prompt},
      {"seed", entry.seed},
      {"rank", entry.rank},
      {"file",
       naming_.file({.index = entry.index, .seed = entry.seed, .prompt = entry.prompt, .negative_prompt = {}},
                    entry.rank)},
      {"sha256", entry.sha256}};
  if (entry.nsfw_content_detected) summary[kNsfwKey] = *entry.nsfw_content_detected;
  const Json parameters = Json::parse(entry.parameters);
  for (const char* key : {"width", "height"})  // the picture's own, which may not be what was asked for
    if (parameters.contains(key)) summary[key] = parameters[key];
  if (parameters.contains("padding_mask_crop")) {  // what was drawn is a part of it
    const std::string file = summary["file"], bytes = io::load_picture_bytes(file);
    const auto header = io::read_picture_header(std::as_bytes(std::span(bytes)), file);
    summary["width"] = header.width;
    summary["height"] = header.height;
  }
  return summary;
}

Json JobFolder::finished(const Manifest::Entries& entries, const JobBatch& batch, const JobImage& image) {
  ManifestEntry wanted = entry_of(image, parameters_of(batch, image), 0);
  if (const auto found = entries.find(image.index); found != entries.end())
    for (auto entry = found->second.rbegin(); entry != found->second.rend(); ++entry) {
      const std::string file = naming_.file(image, entry->rank);  // never a name out of the manifest
      if (!entry->failed() && entry->parameters == wanted.parameters && entry->file == relative(file) &&
          has_hash(file, entry->sha256))
        return summary(*entry);
    }
  for (const int64_t rank : names_.ranks_of(image)) {
    const std::string file = naming_.file(image, rank);
    if (!says_itself(file, wanted)) continue;
    wanted.rank = rank;
    wanted.file = relative(file);
    wanted.sha256 = io::sha256_of_file(file);
    note(wanted);
    return summary(wanted);
  }
  return nullptr;
}

std::vector<Json> JobFolder::find_finished(const std::vector<JobBatch>& batches) {
  const auto entries = manifest_.load();
  std::vector<Json> results;
  std::vector<JobBatch> unfinished;
  for (const auto& batch : batches) {
    Json images = Json::array();
    for (const auto& image : batch.images) {
      Json one = finished(entries, batch, image);
      if (one.is_null()) break;
      images.push_back(std::move(one));
    }
    const bool whole = images.size() == batch.images.size();
    if (!whole) unfinished.push_back(batch);
    results.push_back(whole ? std::move(images) : Json());
  }
  forget(unfinished);
  return results;
}

Json JobFolder::put(const JobImage& image, const Made& made, std::span<const std::byte> bytes) {
  const std::string file = naming_.file(image, naming_.rank);
  AtomicFile out(file);
  out.write(bytes);
  out.commit();
  ManifestEntry entry = entry_of(image, made.parameters, naming_.rank);
  entry.threads = made.threads;
  entry.nsfw_content_detected = made.nsfw_content_detected;
  entry.file = relative(file);
  entry.sha256 = io::sha256_hex(bytes);
  note(entry);
  return summary(entry);
}

void JobFolder::record_failure(const JobBatch& batch, const JobImage& image, ErrorKind kind,
                               const std::string& message) {
  ManifestEntry entry = entry_of(image, parameters_of(batch, image), naming_.rank);
  entry.error_kind = error_info(kind).name;
  entry.message = message;
  note(entry);
}

}  // namespace diffract::jobs
