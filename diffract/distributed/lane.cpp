#include "diffract/distributed/lane.h"

#include <algorithm>
#include <exception>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "diffract/core/error.h"
#include "diffract/core/heartbeat.h"
#include "diffract/core/trace.h"
#include "diffract/distributed/process_group.h"

namespace diffract::distributed {
namespace {

// What a lane has sent and not looked at since is kept, read or not: so many tensors, and so many bytes,
// unless it is one.
constexpr size_t kMostOnTheirWay = 64;
constexpr int64_t kMostBytesOnTheirWay = int64_t{64} << 20;
constexpr int kTags = 1 << 30;

thread_local Lane* lane_of_thread = nullptr;

// Tags of calls to come, equal on all ranks, which make the same calls.
int take_tags(size_t count) {
  static int next = 1;
  if (count >= static_cast<size_t>(kTags - next)) next = 1;
  return std::exchange(next, next + static_cast<int>(count));
}

}  // namespace

Lane::Lane(const Group& group, int tag, Turn* turn, const std::atomic<bool>* stop)
    : group_(group),
      rank_(group.rank()),
      size_(group.size()),
      tag_(tag),
      turn_(turn),
      stop_(stop),
      before_(std::exchange(lane_of_thread, this)) {}

Lane::~Lane() { lane_of_thread = before_; }

Lane* Lane::current() { return lane_of_thread; }

template <typename Wait>
void Lane::while_others_compute(Wait&& wait) {
  if (!turn_ || turn_->pass()) heartbeat_rest();  // the wait has a timeout of its own
  std::exception_ptr failure;
  try {
    wait();
  } catch (...) {
    failure = std::current_exception();
  }
  if (turn_) turn_->take();
  if (failure) std::rethrow_exception(failure);
  if (stop_ && *stop_) throw Cancelled("another picture of the job failed");
  heartbeat();
}

void Lane::send(const at::Tensor& tensor, int destination) {
  const auto bytes = static_cast<int64_t>(tensor.nbytes());
  while (!sending_.empty() &&
         (sending_.size() >= kMostOnTheirWay || bytes_on_their_way_ + bytes > kMostBytesOnTheirWay))
    finish_oldest();
  sending_.push_back(group_.isend(tensor, destination, tag_));
  bytes_on_their_way_ += bytes;
}

at::Tensor Lane::receive(int64_t bytes, int source) {
  at::Tensor tensor = at::empty({bytes}, at::kByte);
  const trace::Span span("wait", "receive");
  while_others_compute([&] { group_.recv(tensor, source, tag_); });
  return tensor;
}

void Lane::finish_oldest() {
  const int64_t bytes = sending_.front().bytes();
  while_others_compute([&] { sending_.front().wait(); });
  sending_.pop_front();
  bytes_on_their_way_ -= bytes;
}

void Lane::finish() {
  while (!sending_.empty()) finish_oldest();
}

namespace {

// The calls of one run_in_flight in this process.
class Flight {
 public:
  Flight(size_t count, const std::function<void(size_t)>& work)
      : group_(cpu_world()), count_(count), first_tag_(take_tags(count)), work_(work) {}

  void run(int in_flight) {
    const auto lanes = std::min(count_, static_cast<size_t>(std::max(in_flight, 1)));
    std::vector<std::thread> threads;
    threads.reserve(lanes);
    std::exception_ptr no_thread;
    try {
      for (size_t i = 0; i < lanes; ++i) threads.emplace_back([this] { run_lane(); });
    } catch (const std::system_error&) {  // the system gives no more: fewer pictures at once
      if (threads.empty()) no_thread = std::current_exception();
    }
    for (std::thread& thread : threads) thread.join();
    if (no_thread) std::rethrow_exception(no_thread);
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  void run_lane() {
    turn_.take();
    while (next_ < count_ && !stop_) {
      const size_t i = next_++;
      try {
        Lane lane(group_, first_tag_ + static_cast<int>(i), &turn_, &stop_);
        work_(i);
        lane.finish();
      } catch (...) {
        if (!failure_) failure_ = std::current_exception();
        stop_ = true;
      }
    }
    if (turn_.pass()) heartbeat_rest();
  }

  const Group& group_;
  size_t count_, next_ = 0;
  int first_tag_;
  const std::function<void(size_t)>& work_;
  Turn turn_;
  std::atomic<bool> stop_ = false;
  std::exception_ptr failure_;  // the first
};

}  // namespace

void run_in_flight(size_t count, int in_flight, const std::function<void(size_t)>& work) {
  Flight(count, work).run(in_flight);
}

}  // namespace diffract::distributed
