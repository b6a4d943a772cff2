#include "diffract/pipelines/job_description.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "diffract/core/error.h"
#include "diffract/io/sha256.h"

namespace diffract::pipelines {
namespace {

// What is longer stands as its beginning and a digest, so that a store takes any job.
constexpr size_t kMostItems = 2000, kMostBytes = 60;

std::string digest(const std::string& text) {
  return io::sha256_hex(std::as_bytes(std::span(text))).substr(0, 16);
}

std::string shortened(const std::string& text) {
  if (text.size() <= kMostBytes) return text;
  size_t end = kMostBytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;  // not amid a character
  return fmt::format("{}... [{}]", text.substr(0, end), digest(text));
}

Json shortened(Json list) {
  if (list.size() <= kMostItems) return list;
  const std::string rest = digest(json_text(list));
  list.erase(list.begin() + kMostItems, list.end());
  list.push_back(rest);
  return list;
}

template <typename T>
Json value_of(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

// An option's value where all batches have the same, else that of each.
template <typename Get>
Json over(const std::vector<JobBatch>& batches, const Get& get) {
  if (batches.empty()) return nullptr;
  Json list = Json::array();
  for (const JobBatch& batch : batches) list.push_back(get(batch.request));
  const auto is_first = [&](const Json& value) { return value == list.front(); };
  return std::all_of(list.begin(), list.end(), is_first) ? list.front() : shortened(std::move(list));
}

Json texts_over(const std::vector<JobBatch>& batches, const std::vector<std::string> Request::*texts) {
  Json list = Json::array();
  for (const JobBatch& batch : batches)
    for (const std::string& text : batch.request.*texts) list.push_back(shortened(text));
  return shortened(std::move(list));
}

Json seeds_of(const std::vector<JobBatch>& batches) {
  Json list = Json::array();
  for (const JobBatch& batch : batches)
    for (const JobImage& image : batch.images) list.push_back(image.seed);
  return shortened(std::move(list));
}

// How the pictures are cut into batches, and texts among them.
std::string layout_of(const std::vector<JobBatch>& batches) {
  std::string text;
  for (const JobBatch& batch : batches)
    text += fmt::format("{} {} {} {}|", batch.images.size(), batch.request.prompt.size(),
                        batch.request.prompt_2.size(), batch.request.negative_prompt.size());
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

std::string name_of(const std::string& key) {
  std::string name = "--" + key;
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

// What `key` has in two jobs, in words.
class Difference {
 public:
  Difference(const JobOf& theirs, const JobOf& ours) : theirs_(theirs.process), ours_(ours.process) {}

  std::string of(const std::string& key, const Json& theirs, const Json& ours) const {
    if (key == "layout")  // its values say nothing to a reader
      return fmt::format("the prompts are cut into other batches for {} than for {}", ours_, theirs_);
    if (theirs.is_array() && ours.is_array()) {
      if (theirs.size() != ours.size())
        return pair(name_of(key) + " has", fmt::format("{} values", theirs.size()),
                    std::to_string(ours.size()));
      for (size_t i = 0; i < ours.size(); ++i)
        if (theirs[i] != ours[i])
          return pair(fmt::format("{}, number {}, is", name_of(key), i + 1), shown(theirs[i]),
                      shown(ours[i]));
    }
    return pair(name_of(key) + " is", shown(theirs), shown(ours));
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
  const auto add = [&](const char* key, const auto& get) { job[key] = over(batches, get); };
  add("num_inference_steps", [](const Request& r) { return value_of(r.num_inference_steps); });
  add("guidance_scale", [](const Request& r) { return value_of(r.guidance_scale); });
  add("true_cfg_scale", [](const Request& r) { return value_of(r.true_cfg_scale); });
  add("guidance_rescale", [](const Request& r) { return value_of(r.guidance_rescale); });
  add("height", [](const Request& r) { return value_of(r.height); });
  add("width", [](const Request& r) { return value_of(r.width); });
  add("max_sequence_length", [](const Request& r) { return value_of(r.max_sequence_length); });
  add("clip_skip", [](const Request& r) { return value_of(r.clip_skip); });
  add("eta", [](const Request& r) { return Json(r.eta); });
  add("noise_dtype", [](const Request& r) { return Json(c10::toString(r.noise_dtype)); });
  add("output_type", [](const Request& r) { return r.output_type == OutputType::latent ? "latent" : "png"; });
  for (const auto& [key, value] : settings.items()) job[key] = value;
  job["prompt"] = texts_over(batches, &Request::prompt);
  job["prompt_2"] = texts_over(batches, &Request::prompt_2);
  job["negative_prompt"] = texts_over(batches, &Request::negative_prompt);
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

}  // namespace diffract::pipelines
