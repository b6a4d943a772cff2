#include "diffract/loading/request_memory.h"

#include "diffract/core/error.h"
#include "diffract/core/size_text.h"
#include "diffract/loading/component.h"
#include "diffract/tensor/host_memory.h"
#include "diffract/weights/host_budget.h"

namespace diffract::loading {
namespace {

using placement::Place;
using placement::PlaceBytes;

constexpr size_t kMostKnown = 64;  // shapes of requests that come one after the other, again and again
// Of what is free: for what libraries take for themselves, and for memory in pieces.
constexpr int64_t kMarginPart = 16;

placement::DeviceMap map_of(const PlacementPlan& placements) {
  if (!placements.hf_device_map().empty()) return placements.hf_device_map();
  const at::Device device = placements.device();
  return {{"", device.is_cpu() ? Place::cpu() : Place(device.index())}};
}

int64_t bounded(uint64_t bytes) {
  constexpr auto kMost = uint64_t{std::numeric_limits<int64_t>::max() / 4};  // sums stay within the type
  return static_cast<int64_t>(std::min(bytes, kMost));
}

// What a component's weights take that nobody else could have meanwhile.
int64_t private_weights(const ComponentNeed& need, Place place) {
  return place.is_cpu() && need.is_mapped ? 0 : bytes_at(need.use.weights, place);
}

[[noreturn]] void refuse_model(const ComponentNeed& need, int64_t bytes, const std::string& limit) {
  throw ModelDoesNotFit(fmt::format(
      "{}: its weights take {} on cpu; {}. Leave --dtype out, so that they are used as they lie in "
      "the files, or let some be on disk (--device-map auto); --no-memory-check tries it anyway",
      need.name, size_text(bytes), limit));
}

}  // namespace

PlaceBytes ComponentNeed::recorded() const {
  PlaceBytes kept;
  if (is_recorded)
    for (const auto& [place, bytes] : use.computing)
      if (place.is_accelerator()) kept[place] = bytes;
  return kept;
}

RequestMemory::RequestMemory(Setting setting)
    : setting_(std::move(setting)), map_(map_of(setting_.placements)) {}

std::shared_ptr<const RequestNeeds> RequestMemory::needs_of(const RequestShape& shape) const {
  const std::lock_guard lock(mutex_);
  if (const auto found = known_.find(shape); found != known_.end()) return found->second;
  LayoutRequest request = setting_.base;
  request.height = shape.height;
  request.width = shape.width;
  request.batch_size = shape.images;
  request.texts = shape.texts;
  request.is_guided = shape.is_guided;
  request.num_inference_steps = shape.steps;
  request.max_sequence_length = shape.max_sequence_length;
  request.encodes_pictures = shape.encodes_pictures;
  request.prompt_pictures = shape.prompt_pictures;
  const PipelineLayout layout = setting_.parts.lay_out(request);
  auto needs = std::make_shared<RequestNeeds>();
  for (size_t i = 0; i < layout.components.size(); ++i) {
    const auto& component = layout.components[i];
    ComponentNeed need{.name = component.name,
                       .use = use_of(component, map_),
                       .is_mapped = layout.is_as_stored[i] && !setting_.changed.contains(component.name),
                       .importance = component.importance,
                       .stored_bytes = layout.stored_bytes[i],
                       .flops = layout.costs[i].flops,
                       .is_recorded = component.name == setting_.recorded};
    if (component.name == setting_.float8)
      for (auto& [place, bytes] : need.use.weights) bytes /= 2;
    needs->push_back(std::move(need));
  }
  if (known_.size() >= kMostKnown) known_.clear();
  return known_[shape] = std::move(needs);
}

uint64_t RequestMemory::free_host_bytes() const {
  const auto& given = setting_.check.free_host_bytes;
  return given ? given() : weights::available_host_bytes() + tensor::kept_host_bytes();
}

PlaceBytes RequestMemory::room_beside(const std::vector<const ComponentNeed*>& held) const {
  PlaceBytes weights;
  int64_t mapped = 0;
  for (const ComponentNeed* need : held)
    for (const auto& [place, bytes] : need->use.weights) {
      weights[place] += bytes;
      mapped += bytes - private_weights(*need, place);
    }
  PlaceBytes room;
  const auto set = [&](Place place, int64_t bytes) {
    room[place] = bytes - std::max<int64_t>(bytes, 0) / kMarginPart;
  };
  // What is mapped counts as free, but is no longer in memory when something else takes its place.
  int64_t host = bounded(free_host_bytes()) - mapped;
  if (const auto budget = setting_.max_memory.find(Place::cpu()))
    host = std::min(host, *budget - bytes_at(weights, Place::cpu()));
  set(Place::cpu(), host);
  for (const at::Device device : setting_.placements.accelerators()) {
    const Place place(device.index());
    const auto memory = tensor::backend_of(device).memory(device.index());
    int64_t bytes = bounded(memory.free);
    if (const auto budget = setting_.max_memory.find(place))
      bytes = std::min(bytes, *budget - bounded(memory.used));
    set(place, bytes);
  }
  return room;
}

std::vector<RequestMemory::Limit> RequestMemory::limits_of(Place place, int64_t can_be_given_up) const {
  if (place.is_accelerator()) {
    if (!setting_.placements.hf_device_map().empty()) return {};  // the plan kept its budget
    const auto& device = setting_.placements.device();
    const int64_t free = bounded(tensor::backend_of(device).memory(device.index()).free) + can_be_given_up;
    return {{free, fmt::format("{} are free there", size_text(free))}};
  }
  if (!place.is_cpu()) return {};
  const int64_t swap = bounded(weights::available_swap_bytes());
  const int64_t free = bounded(free_host_bytes()) + swap + can_be_given_up;
  std::vector<Limit> limits = {{free, fmt::format("{} are free there", size_text(free))}};
  if (const int processes = setting_.check.processes_on_host; processes > 1) {
    const int64_t all = bounded(std::min(setting_.check.free_at_start, weights::total_host_bytes())) + swap;
    limits.push_back({all / processes, fmt::format("each of the {} processes on this host may take {}",
                                                   processes, size_text(all / processes))});
  }
  return limits;
}

// The kernel promises more memory than there is and ends the process when it is used, so that what a model
// takes beyond its mapped files must be reckoned as open_weights() will decide it.
int64_t RequestMemory::loading_bytes(const ComponentNeed& need, Place place, int64_t can_be_given_up) const {
  const int64_t own = private_weights(need, place);
  if (!place.is_cpu() || !setting_.placements.hf_device_map().empty()) return own;
  const auto free = static_cast<uint64_t>(bounded(free_host_bytes()) + can_be_given_up);
  const auto resident = weights::resident_when_streamed(static_cast<uint64_t>(need.stored_bytes), free);
  return resident ? std::min(own, bounded(*resident)) : own;
}

void RequestMemory::bound_kept_blocks(const RequestNeeds& needs) const {
  int64_t most = 0;
  for (const ComponentNeed& need : needs)
    most = std::max(most, bytes_at(need.use.computing, Place::cpu()) + private_weights(need, Place::cpu()));
  const int64_t left = std::max<int64_t>(bounded(free_host_bytes()) - most, 0);
  tensor::keep_at_most(static_cast<uint64_t>(left / 2));
}

void RequestMemory::require(const RequestShape& shape, const RequestNeeds& needs, const Which& runs,
                            const Which& is_loaded, bool all_stay) const {
  bound_kept_blocks(needs);
  if (!setting_.check.refuses) return;
  for (const ComponentNeed& need : needs) {
    if (!runs(need)) continue;
    for (const auto& entry : need.use.computing) {
      const placement::Place& place = entry.first;  // a lambda below takes it, which a binding does not allow
      int64_t computing = entry.second;
      int64_t given_up = 0, kept = 0;  // of other components
      for (const ComponentNeed& other : needs) {
        if (&other == &need || !is_loaded(other)) continue;
        (all_stay ? kept : given_up) += private_weights(other, place);
        if (all_stay) computing += bytes_at(other.recorded(), place);
      }
      const int64_t own = private_weights(need, place),
                    loads = is_loaded(need) ? 0 : loading_bytes(need, place, given_up);
      const auto refuse = [&](int64_t weights, const std::string& limit) {
        throw MemoryError(
            "{}: {} of {}x{} pixels {} {} on {} ({} to compute, {} of weights); {}. Make smaller pictures, "
            "or fewer at once (--height, --width, --batch-size){}; --no-memory-check tries it anyway",
            need.name, shape.images == 1 ? "a picture" : fmt::format("{} pictures", shape.images),
            shape.width, shape.height, shape.images == 1 ? "takes" : "take", size_text(computing + weights),
            place.name(), size_text(computing), size_text(weights), limit,
            place.is_accelerator() ? ", or let some of the model be in CPU memory (--device-map auto)" : "");
      };
      const auto limits = limits_of(place, given_up);
      if (!limits.empty() && loads > limits.front().bytes) {
        // Of a model that is too large for an accelerator its loading tells, which ends the job: whatever
        // else this request takes must not make it one picture's failure.
        if (place.is_accelerator()) return;
        refuse_model(need, loads, limits.front().text);
      }
      if (!limits.empty() && computing + loads > limits.front().bytes) refuse(loads, limits.front().text);
      if (limits.size() > 1 && computing + own + kept > limits[1].bytes) refuse(own + kept, limits[1].text);
      const auto budget = setting_.max_memory.find(place);
      if (!place.is_cpu() || !budget || !setting_.keeps_host_budget) continue;
      int64_t weights = 0;  // mapped or not, as the plan counts them
      for (const ComponentNeed& other : needs)
        if (all_stay || &other == &need) weights += bytes_at(other.use.weights, place);
      if (computing + weights > *budget) refuse(weights, fmt::format("its budget is {}", size_text(*budget)));
    }
  }
}

}  // namespace diffract::loading
