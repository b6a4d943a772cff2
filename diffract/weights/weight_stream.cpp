#include "diffract/weights/weight_stream.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "diffract/core/error.h"
#include "diffract/core/heartbeat.h"
#include "diffract/core/log.h"
#include "diffract/core/trace.h"
#include "diffract/weights/live_streams.h"

namespace diffract::weights {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kLongestWait{600};  // for a part

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

}  // namespace

/// A part that is on the device or on its way there.
struct WeightStream::Lease::Held {
  size_t part = 0;
  RingPlace place;  // where it is not kept
  int users = 0;    // leases, and those who wait
  bool is_kept = false, is_begun = false, is_read = false, is_over = false;
  bool is_free() const { return is_over && users == 0; }
  std::exception_ptr failure;
  at::Tensor memory;  // where it is kept
  LoadedTensors tensors;
  tensor::DeviceEventPtr copied, computed;  // on an accelerator
};

WeightStream::Lease::Lease(WeightStream* stream, std::shared_ptr<Held> held)
    : stream_(stream), held_(std::move(held)) {}
WeightStream::Lease::Lease(Lease&& other) noexcept
    : stream_(std::exchange(other.stream_, nullptr)), held_(std::move(other.held_)) {}
WeightStream::Lease::~Lease() {
  if (stream_) stream_->leave(held_);
}
const LoadedTensors& WeightStream::Lease::tensors() const { return held_->tensors; }

WeightStream::WeightStream(const Options& options)
    : options_(options),
      backend_(options.device.is_cpu() ? nullptr : &tensor::backend_of(options.device)),
      folder_(options.offload_folder.empty() ? nullptr
                                             : std::make_unique<OffloadFolder>(options.offload_folder)),
      reader_(std::make_unique<PartReader>(options.device, backend_)) {
  LiveStreams::instance().add(this);
}

WeightStream::~WeightStream() {
  LiveStreams::instance().remove(this);
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  reader_->stop();
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
  if (statistics_.bytes_read > 0)
    log::info("weights: {:.1f} GB read at {:.2f} GB/s; {:.1f} s of waiting for them",
              static_cast<double>(statistics_.bytes_read) / 1e9,
              static_cast<double>(statistics_.bytes_read) / 1e9 / std::max(statistics_.seconds_reading, 1e-9),
              statistics_.seconds_waiting);
}

size_t WeightStream::add(Part part) {
  if (backend_) part.matrices_first();
  if (backend_ && part.source == Source::host) {
    part.host = backend_->pinned_memory(static_cast<int64_t>(part.bytes));
    reader_->load_to_host(part, {part.host});
  } else if (folder_) {
    folder_->take(part, *reader_);
  }
  if (part.source == Source::disk && !backend_) part.lie_as_in_files();
  parts_.push_back(std::move(part));
  return parts_.size() - 1;
}

at::Tensor WeightStream::new_memory(uint64_t bytes) const {
  if (!backend_) return page_aligned(bytes);
  return at::empty({static_cast<int64_t>(bytes)}, at::TensorOptions(at::kByte).device(options_.device));
}

// Before the first part is entered. The ring holds some of the largest parts; what the budget holds beyond
// stays.
void WeightStream::prepare() {
  if (ring_.defined()) return;
  uint64_t total = 0, largest = 0;
  for (const Part& part : parts_) {
    total += part.page_bytes();
    largest = std::max(largest, part.page_bytes());
  }
  uint64_t budget = options_.parts_in_transit * largest;
  if (options_.budget)
    budget = *options_.budget - std::min(*options_.budget, resident_bytes_);
  else if (backend_)  // half of what is free: activations want the rest
    budget = std::min(budget, backend_->memory(options_.device.index()).free / 2);
  ring_bytes_ =
      std::clamp(budget, largest, std::max(largest, std::min(options_.parts_in_transit * largest, total)));
  at::Tensor ring = new_memory(ring_bytes_);
  if (backend_)  // what computes with the memory's last owner may still be running
    reader_->copy_stream()->wait(*backend_->record_compute(options_.device.index()));
  for (size_t i = next_.size(); i < parts_.size(); ++i) next_.push_back(first_guess(i));
  kept_.assign(parts_.size(), nullptr);
  const auto stays = options_.keeps_parts ? parts_that_stay(parts_, budget - std::min(budget, ring_bytes_))
                                          : std::vector<bool>(parts_.size(), false);
  for (size_t i = 0; i < parts_.size(); ++i) {
    if (!stays[i]) continue;
    kept_[i] = std::make_shared<Held>();
    kept_[i]->part = i;
    kept_[i]->is_kept = true;
  }
  ring_ = std::move(ring);  // last: with it all is there
}

// What comes behind a part before anything is known: the next one, and behind the last one the first that
// comes again in each step.
size_t WeightStream::first_guess(size_t part) const {
  if (part + 1 < parts_.size()) return part + 1;
  const auto often =
      std::find_if(parts_.begin(), parts_.end(), [](const Part& p) { return !p.is_once_for_many_steps; });
  return often == parts_.end() ? 0 : static_cast<size_t>(often - parts_.begin());
}

WeightStream::HeldPtr WeightStream::find(size_t part) const {
  if (kept_[part]) return kept_[part];
  const auto found = std::find_if(held_.begin(), held_.end(),
                                  [&](const HeldPtr& held) { return held->part == part && !held->is_over; });
  return found == held_.end() ? nullptr : *found;
}

WeightStream::Lease WeightStream::enter(size_t part) {
  std::unique_lock lock(mutex_);
  prepare();
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  const bool begins_anew =
      last_entered_ && parts_[part].is_once_for_many_steps && !parts_[*last_entered_].is_once_for_many_steps;
  if (last_entered_ && !begins_anew) next_[*last_entered_] = part;
  last_entered_ = part;
  HeldPtr held = find(part);
  const bool is_new = !held || (held->is_kept && !held->is_begun);
  if (!held) {
    held = std::make_shared<Held>();
    held->part = part;
  }
  ++held->users;
  if (is_new && std::find(wanted_.begin(), wanted_.end(), held) == wanted_.end()) {
    held->failure = nullptr;
    wanted_.push_back(held);
  }
  // What was read before it and has no user was guessed wrongly; what stays says nothing of the ring.
  for (const HeldPtr& other : held_) {
    if (held->is_kept || other == held) break;
    if (other->users == 0) other->is_over = true;
  }
  changed_.notify_all();
  const auto begin = Clock::now();
  const trace::Span span("wait", parts_[part].name);
  heartbeat_rest();  // a slow disk hangs after kLongestWait, not before
  const bool came =
      changed_.wait_for(lock, kLongestWait, [&] { return held->is_read || held->failure || broken_; });
  statistics_.seconds_waiting += seconds_since(begin);
  if (!came || held->failure || broken_) {
    const std::exception_ptr failure = broken_ ? broken_ : held->failure;
    if (--held->users == 0) {
      held->is_over = !held->is_kept;
      std::erase(wanted_, held);
    }
    changed_.notify_all();
    if (failure) std::rethrow_exception(failure);
    throw IoError("{}: its weights were not read within {} s", parts_[part].name, kLongestWait.count());
  }
  lock.unlock();
  if (held->copied) held->copied->compute_waits();
  return {this, std::move(held)};
}

void WeightStream::leave(const HeldPtr& held) {
  {
    const std::lock_guard lock(mutex_);  // of several users the last to leave records the event
    try {
      if (backend_ && !held->is_kept) held->computed = backend_->record_compute(options_.device.index());
    } catch (...) {  // a lease ends in a destructor: whoever enters next is told
      broken_ = std::current_exception();
    }
    if (--held->users == 0) held->is_over = !held->is_kept;
  }
  changed_.notify_all();
}

// The part that will be entered after all that are there; none when the whole round is.
std::optional<size_t> WeightStream::predicted() const {
  if (!last_entered_) return {};
  size_t part = next_[*last_entered_];
  for (size_t i = 0; i < parts_.size(); ++i, part = next_[part]) {
    const HeldPtr held = find(part);
    if (!held || (held->is_kept && !held->is_begun)) return part;
  }
  return {};
}

// Begins to read `held` into memory of its own, or into the ring behind the newest part.
void WeightStream::begin(HeldPtr held) {
  held->is_begun = true;
  // Guesses that never had room, which no one's room ever overlaps.
  std::erase_if(held_, [](const HeldPtr& old) { return old->is_free() && old->place.claimed() == 0; });
  if (!held->is_kept) {
    const uint64_t newest = held_.empty() ? 0 : held_.back()->place.end(parts_[held_.back()->part]);
    held->place = RingPlace(parts_[held->part], newest, ring_bytes_);
    held_.push_back(held);
  }
  reading_ = std::move(held);
}

// True when nobody's weights lie on these pages of the ring; those that nobody needs any more go.
bool WeightStream::clear(const Held& owner, const Stretch& pages) {
  for (auto at = held_.begin(); at != held_.end();) {
    const Held& other = **at;
    if (&other == &owner || !other.place.has_claimed(parts_[other.part], pages)) {
      ++at;
      continue;
    }
    if (!other.is_free()) return false;
    if (other.computed && reader_->copy_stream()) reader_->copy_stream()->wait(*other.computed);
    at = held_.erase(at);
  }
  return true;
}

// What of `held` can be read now: the tensors first to last, in one stretch of memory. None while there is
// no room.
std::optional<WeightStream::ToRead> WeightStream::next_tensors(const HeldPtr& held) {
  const Part& part = parts_[held->part];
  const size_t count = part.tensors.size();
  if (held->is_kept) return ToRead{held, 0, count};
  RingPlace& place = held->place;
  const size_t first = place.claimed();
  const size_t end = first < place.wraps_at() ? place.wraps_at() : count;
  while (place.claimed() < end && clear(*held, place.pages(part, place.claimed()))) place.claim();
  if (place.claimed() == first && count > 0) return {};
  return ToRead{held, first, place.claimed()};
}

// What the thread reads next; waits while there is nothing to do. None: stop.
std::optional<WeightStream::ToRead> WeightStream::next_to_read(std::unique_lock<std::mutex>& lock) {
  while (!stop_) {
    if (!wanted_.empty() && (!reading_ || reading_->users == 0)) {
      const bool wants_room = !wanted_.front()->is_kept;
      for (const HeldPtr& guessed : held_)  // they stand in the way of what is needed now
        if (guessed->users == 0 && (wants_room || guessed == reading_)) guessed->is_over = true;
      begin(wanted_.front());
      wanted_.pop_front();
    }
    if (reading_ && reading_->is_free()) reading_ = nullptr;  // not what was needed
    if (!reading_) {
      if (const auto part = predicted()) {
        HeldPtr held = kept_[*part] ? kept_[*part] : std::make_shared<Held>();
        held->part = *part;
        begin(std::move(held));
      }
    }
    if (reading_) {
      if (auto next = next_tensors(reading_)) return next;
    }
    changed_.wait(lock);
  }
  return {};
}

// For the tensors first to last, which lie in one stretch.
PartMemory WeightStream::memory_of(const Held& held, size_t first, size_t last) const {
  if (held.is_kept || first == last) return {held.memory};
  const Part& part = parts_[held.part];
  const uint64_t begin = held.place.pages(part, first).begin, end = held.place.pages(part, last - 1).end;
  return {ring_.narrow(0, static_cast<int64_t>(begin), static_cast<int64_t>(end - begin)),
          part.tensors[first].pages().begin};
}

void WeightStream::load(const ToRead& next) {
  Held& held = *next.held;
  const Part& part = parts_[held.part];
  const trace::Span span(part.source == Source::disk ? "read" : "copy", part.name);
  if (held.is_kept) held.memory = new_memory(part.bytes);
  reader_->read(part, next.first, next.last, memory_of(held, next.first, next.last));
  if (next.last < part.tensors.size()) return;
  held.tensors.reserve(part.tensors.size());
  for (size_t i = 0; i < part.tensors.size(); ++i)
    held.tensors.emplace(part.tensors[i].name, memory_of(held, i, i + 1)[part.tensors[i]]);
  if (auto* copies = reader_->copy_stream()) held.copied = copies->record();
}

void WeightStream::run() {
  try {
    read_parts();
  } catch (...) {  // not a part's own failure: the device is broken, or there is no memory for a list
    const std::lock_guard lock(mutex_);
    broken_ = std::current_exception();
    is_loading_ = false;
  }
  changed_.notify_all();
}

void WeightStream::read_parts() {
  const c10::InferenceMode no_autograd;  // the memory may have been taken in it
  std::unique_lock lock(mutex_);
  while (const auto next = next_to_read(lock)) {
    const HeldPtr& held = next->held;
    is_loading_ = true;
    lock.unlock();
    const auto begin = Clock::now();
    std::exception_ptr failure;
    try {
      load(*next);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    is_loading_ = false;
    if (failure) {
      held->is_begun = !held->is_kept;
      held->is_over = !held->is_kept;
      // Nobody waits for a guess; whoever enters the part tries again and is told.
      if (held->users > 0) held->failure = failure;
    } else {
      statistics_.seconds_reading += seconds_since(begin);
      held->is_read = next->last == parts_[held->part].tensors.size();
      if (held->is_read) statistics_.bytes_read += parts_[held->part].bytes;
    }
    if (failure || held->is_read) reading_ = nullptr;
    changed_.notify_all();
    // A guess that failed is not tried again at once, but when something has changed.
    if (failure && held->users == 0) changed_.wait(lock, [&] { return stop_ || !wanted_.empty(); });
  }
}

void WeightStream::release() {
  std::unique_lock lock(mutex_);
  if (!ring_.defined() || options_.keeps_parts) return;
  last_entered_.reset();  // so that nothing more is guessed
  for (const HeldPtr& held : held_)
    if (held->users == 0) held->is_over = true;
  changed_.wait(lock, [&] { return !is_loading_; });
  const auto is_used = [](const HeldPtr& held) { return held->users > 0; };
  if (!wanted_.empty() || std::any_of(held_.begin(), held_.end(), is_used)) return;
  reader_->finish();
  held_.clear();
  reading_ = nullptr;
  last_entered_.reset();  // whoever came and left meanwhile
  ring_ = at::Tensor();
}

StreamStatistics WeightStream::statistics() const {
  const std::lock_guard lock(mutex_);
  return statistics_;
}

}  // namespace diffract::weights
