#include "diffract/jobs/job_description.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "diffract/core/dashed_option.h"
#include "diffract/core/error.h"
#include "diffract/core/utf8.h"
#include "diffract/io/sha256.h"
#include "diffract/pipelines/request_fields.h"

namespace diffract::jobs {
namespace {

// What is longer stands as its beginning and a digest, so that a store takes any job.
constexpr size_t kMostItems = 2000, kMostBytes = 60;

std::string digest(const std::string& text) {
  return io::sha256_hex(std::as_bytes(std::span(text))).substr(0, 16);
}

std::string shortened(const std::string& text) {
  if (text.size() <= kMostBytes) return text;
  return fmt::format("{} [{}]", diffract::shortened(text, kMostBytes), digest(text));
}

Json shortened(Json list) {
  if (list.size() <= kMostItems) return list;
  const std::string rest = digest(json_text(list));
  list.erase(list.begin() + kMostItems, list.end());
  list.push_back(rest);
  return list;
}

// A field's value where all batches have the same, else that of each.
Json over(const std::vector<JobBatch>& batches, const pipelines::RequestField& field) {
  if (batches.empty()) return nullptr;
  Json list = Json::array();
  for (const JobBatch& batch : batches) list.push_back(field.get(batch.request));
  const auto is_first = [&](const Json& value) { return value == list.front(); };
  return std::all_of(list.begin(), list.end(), is_first) ? list.front() : shortened(std::move(list));
}

Json texts_over(const std::vector<JobBatch>& batches, const pipelines::RequestField& field) {
  Json list = Json::array();
  for (const JobBatch& batch : batches)
    for (const Json& text : field.get(batch.request)) list.push_back(shortened(text.get<std::string>()));
  return shortened(std::move(list));
}

Json seeds_of(const std::vector<JobBatch>& batches) {
  Json list = Json::array();
  for (const JobBatch& batch : batches)
    for (const JobImage& image : batch.images) list.push_back(image.seed);
  return shortened(std::move(list));
}

// How the images are cut into batches, and texts and pictures among them.
std::string layout_of(const std::vector<JobBatch>& batches) {
  std::string text;
  for (const JobBatch& batch : batches) {
    text += fmt::format("{}", batch.images.size());
    for (const auto& field : pipelines::request_fields())
      if (field.is_list()) text += fmt::format(" {}", field.get(batch.request).size());
    text += "|";
  }
  return digest(text);
}

// As the options say it: --schedule static; pictures that are computed together have no --schedule.
const char* name_of(JobSchedule schedule) {
  switch (schedule) {
    case JobSchedule::fixed:
      return "static";
    case JobSchedule::dynamic:
      return "dynamic";
    case JobSchedule::together:
      return "together";
  }
  return "unknown";
}

std::optional<Json> object_of(const std::string& text) {
  try {
    Json json = parse_json(text, "the store");
    if (json.is_object()) return json;
  } catch (const CheckpointError&) {  // no job of this program
  }
  return std::nullopt;
}

std::string shown(const Json& value) { return value.is_null() ? "not given" : shortened(json_text(value)); }

// What `key` has in two jobs, in words.
class Difference {
 public:
  Difference(const JobOf& theirs, const JobOf& ours) : theirs_(theirs.process), ours_(ours.process) {}

  std::string of(const std::string& key, const Json& theirs, const Json& ours) const {
    if (key == "layout")  // its values say nothing to a reader
      return fmt::format("the prompts are cut into other batches for {} than for {}", ours_, theirs_);
    if (theirs.is_array() && ours.is_array()) {
      if (theirs.size() != ours.size())
        return pair(dashed_option(key) + " has", fmt::format("{} values", theirs.size()),
                    std::to_string(ours.size()));
      for (size_t i = 0; i < ours.size(); ++i)
        if (theirs[i] != ours[i])
          return pair(fmt::format("{}, number {}, is", dashed_option(key), i + 1), shown(theirs[i]),
                      shown(ours[i]));
    }
    return pair(dashed_option(key) + " is", shown(theirs), shown(ours));
  }
  std::string pair(const std::string& what, const std::string& theirs, const std::string& ours) const {
    return fmt::format("{} {} for {} and {} for {}", what, theirs, theirs_, ours, ours_);
  }

 private:
  const std::string &theirs_, &ours_;
};

}  // namespace

std::string describe_job(const std::vector<JobBatch>& batches, JobSchedule schedule, const Json& settings) {
  Json job = Json::object();
  using Field = pipelines::RequestField;
  for (const Field& field : pipelines::request_fields())
    if (field.scope == Field::Scope::batch || field.scope == Field::Scope::job)
      job[field.name] = over(batches, field);
  for (const auto& [key, value] : settings.items()) job[key] = value;
  for (const Field& field : pipelines::request_fields())
    if (field.is_list()) job[field.name] = texts_over(batches, field);
  job["seed"] = seeds_of(batches);
  job["schedule"] = name_of(schedule);
  job["layout"] = layout_of(batches);
  return json_text(job);
}

std::string job_difference(const JobOf& theirs, const JobOf& ours) {
  const Difference difference(theirs, ours);
  const size_t their_blank = theirs.text.find(' '), our_blank = ours.text.find(' ');
  const std::string their_size = theirs.text.substr(0, their_blank),
                    our_size = ours.text.substr(0, our_blank);
  if (their_size != our_size)
    return difference.pair("the number of processes is", shortened(their_size), our_size);
  const auto their_job = object_of(theirs.text.substr(their_blank + 1));
  const auto our_job = object_of(ours.text.substr(our_blank + 1));
  if (their_job && our_job) {
    for (const auto& [key, value] : our_job->items()) {
      const auto found = their_job->find(key);
      if (found == their_job->end() || *found != value)
        return difference.of(key, found == their_job->end() ? Json(nullptr) : *found, value);
    }
  }
  return difference.pair("it is", shortened(theirs.text), shortened(ours.text));
}

}  // namespace diffract::jobs
