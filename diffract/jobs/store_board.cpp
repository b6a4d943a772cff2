#include "diffract/jobs/store_board.h"

#include <unistd.h>

#include <algorithm>
#include <random>

#include "diffract/core/json.h"
#include "diffract/core/log.h"
#include "diffract/jobs/job_description.h"
#include "diffract/net/deadline.h"

namespace diffract::jobs {
namespace {

using net::Deadline;
using std::chrono::milliseconds;
constexpr milliseconds kLifeInterval{1000}, kIdleInterval{50}, kSlice{500};
constexpr milliseconds kProofOfLife = 3 * kLifeInterval;  // longer without a sign, and a process is not there
constexpr const char* kFound = "found:";                  // then a character a batch; none: nothing

std::string key_of(const char* what, int64_t number) { return fmt::format("{}/{}", what, number); }

// Another process, named for a message.
std::string named(int rank, int world_size, const std::string& where) {
  return fmt::format("rank {} of {} ({})", rank, world_size, where);
}

milliseconds slice_of(const Deadline& deadline) {
  return deadline.passed() ? kSlice : std::min(kSlice, deadline.left());
}

// A process' entry: no two processes have the same, whatever their pids.
std::string make_entry(const distributed::Peer& peer) {
  std::random_device random;
  return fmt::format("{:08x}{:08x} {}", random(), random(), to_text(peer));
}
distributed::Peer peer_of(const std::string& entry) {
  return distributed::parse_peer(entry.substr(std::min(entry.find(' '), entry.size())));
}

std::string to_found_text(const std::vector<bool>& found) {
  std::string text = kFound;
  if (std::find(found.begin(), found.end(), true) != found.end())
    for (const bool finished : found) text += finished ? '1' : '0';
  return text;
}
void add_found(const std::string& text, std::vector<bool>& all) {
  const size_t begin = std::string_view(kFound).size();
  for (size_t b = 0; b < all.size() && begin + b < text.size(); ++b)
    if (text[begin + b] == '1') all[b] = true;
}

}  // namespace

StoreBoard::StoreBoard(const distributed::Store& store, JobMember member, milliseconds silence)
    : member_(std::move(member)), silence_(silence), store_(store.with_prefix("job/" + member_.run)) {}

StoreBoard::~StoreBoard() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_all();
  if (life_.joinable()) life_.join();
}

bool StoreBoard::has(const char* what, int rank) { return store_.check({key_of(what, rank)}); }

// Until it is sure that this process belongs to the job, it writes nothing that one of them could take for
// its own: another job, or a second process with the same rank, must not disturb one that runs.
void StoreBoard::join(const std::string& job) {
  membership_ = Membership::refused;
  const std::string ours = fmt::format("{} {}", world_size(), job);
  if (is_main())
    store_.compare_set("job", "", ours);
  else
    wait_for_main("job");
  if (const std::string theirs = store_.get("job"); theirs != ours) {
    const std::string difference =
        job_difference({.process = is_main() ? "the job that is there" : "rank 0", .text = theirs},
                       {.process = is_main() ? "this one" : fmt::format("rank {}", rank()), .text = ours});
    const Failure failure{
        ErrorKind::usage,
        fmt::format("has another job: {}. Give all ranks the same options and prompts", difference)};
    if (!is_main())
      store_.set(key_of("away", rank()), json_text(to_json(failure)));  // heard while it is missing
    throw UsageError(
        "{}: rank 0 at {} (host {}, port {}) has another job: {}. Give all ranks the same options and "
        "prompts, and each job a port of its own",
        store_.who(), store_.endpoint().text(), store_.endpoint().host, store_.endpoint().port, difference);
  }
  take_rank();
  membership_ = Membership::joined;
  // Its connection is made here, so that a lost store is met by who can say so.
  life_ = std::thread(&StoreBoard::live, this, store_.another_connection());
}

void StoreBoard::take_rank() {
  const std::string where = key_of("where", rank());
  const distributed::Peer self = distributed::own_peer();
  const std::string mine = make_entry(self);
  cpus_key_ = fmt::format("cpus/{}/{}", self.host, self.cpus);
  std::string holder = store_.compare_set(where, "", mine);
  if (holder == mine) {
    store_.add(cpus_key_, 1);
    return;
  }
  if (!holds_rank(peer_of(holder))) {
    const std::string before = holder;
    holder = store_.compare_set(where, before, mine);
  }
  if (holder != mine)
    throw UsageError(
        "{}: {} has this rank already in the job at {} (host {}, port {}), and so has pid {} on host {}. "
        "Give each process a rank of its own",
        store_.who(), peer_of(holder).text(rank()), store_.endpoint().text(), store_.endpoint().host,
        store_.endpoint().port, self.pid, self.host);
  rejoined_ = has("found", rank());
}

// Whether the process that took this rank before is still there.
bool StoreBoard::holds_rank(const distributed::Peer& earlier) {
  if (has("left", rank())) return false;
  const auto runs = distributed::runs(earlier);
  if (runs == false) return false;
  if (runs == true && earlier.pid != ::getpid()) return true;
  const std::string alive = key_of("alive", rank());
  const int64_t count = store_.add(alive, 0);
  const Deadline deadline(kProofOfLife);
  while (!deadline.passed()) {
    std::this_thread::sleep_for(kIdleInterval);
    if (store_.add(alive, 0) != count) return true;
  }
  return false;
}

// A thread of its own, because a denoising step may take minutes. Whether steps still come is the launcher's
// business; here it is whether the process is there at all.
void StoreBoard::live(distributed::Store store) {
  try {
    std::unique_lock lock(mutex_);
    do {
      store.add(key_of("alive", rank()), 1);
    } while (!stop_.wait_for(lock, kLifeInterval, [&] { return stopping_; }));
  } catch (const Error& error) {
    log::debug("{}", error.what());  // the next call of the job itself says so
  }
}

void StoreBoard::check_life(int other) {
  const auto now = Clock::now();
  Sign& sign =
      signs_.try_emplace(other, Sign{.count = -1, .seen = now, .looked = now - kLifeInterval}).first->second;
  if (now - sign.looked < kLifeInterval) return;
  sign.looked = now;
  if (const int64_t count = store_.add(key_of("alive", other), 0); count != sign.count) {
    sign.count = count;
    sign.seen = now;
  }
  if (now - sign.seen <= silence_) return;
  const distributed::Peer peer = peer_of(store_.get(key_of("where", other)));
  throw PeerError("{}: {} gave no sign of life for {} s. See that rank's own output", store_.who(),
                  named(other, world_size(), fmt::format("host {}, pid {}", peer.host, peer.pid)),
                  std::chrono::duration_cast<std::chrono::seconds>(silence_).count());
}

void StoreBoard::throw_failure(int other, const std::string& key) {
  const Failure failure = failure_of(parse_json(store_.get(key), "store"));
  const std::string who = fmt::format("rank {} of {}: ", other, world_size());
  throw Error(failure.kind, (failure.message.starts_with(who) ? "" : who) + failure.message);
}

// The main process comes, does not, says why it gave up, or is lost.
void StoreBoard::wait_for_main(const std::string& key) {
  const Deadline deadline(store_.timeout());
  WaitNotice notice;
  signs_.clear();
  while (!store_.wait_for({key}, slice_of(deadline))) {
    say_who_is_waited_for(deadline, notice);
    if (has("away", 0)) throw_failure(0, key_of("away", 0));
    if (has("where", 0))
      check_life(0);
    else if (deadline.passed())
      throw PeerError(
          "{}: rank 0 of {} did not come to the job within {:.0f} s. Is it running, and did it reach {}?",
          store_.who(), world_size(), std::chrono::duration<double>(store_.timeout()).count(),
          store_.endpoint().text());
  }
}

std::vector<bool> StoreBoard::agree_on_finished(const std::vector<bool>& found) {
  // The first answer holds: who comes back finds more, but the others have agreed.
  store_.compare_set(key_of("found", rank()), "", to_found_text(found));
  if (!is_main())
    wait_for_main("agreed");
  else if (!store_.check({"agreed"}))
    store_.set("agreed", collect_found(found.size()));
  std::vector<bool> all(found.size(), false);
  add_found(store_.get("agreed"), all);
  return all;
}

std::string StoreBoard::collect_found(size_t batches) {
  const Deadline deadline(store_.timeout());
  std::vector<std::string> keys(static_cast<size_t>(world_size()));
  for (int r = 0; r < world_size(); ++r) keys[static_cast<size_t>(r)] = key_of("found", r);
  WaitNotice notice;
  signs_.clear();
  while (!store_.wait_for(keys, slice_of(deadline))) {
    say_who_is_waited_for(deadline, notice);
    look_for_missing(deadline);
  }
  std::vector<bool> all(batches, false);
  for (const std::string& found : store_.multi_get(keys, store_.timeout())) add_found(found, all);
  return to_found_text(all);
}

// Without the main process nothing goes on; else whoever has not joined.
std::vector<int> StoreBoard::not_come() {
  if (!is_main() && !has("where", 0)) return {0};
  std::vector<int> ranks;
  for (int r = 1; r < world_size(); ++r)
    if (r != rank() && !has("where", r)) ranks.push_back(r);
  return ranks;
}

// One process of each host says it.
void StoreBoard::say_who_is_waited_for(const Deadline& deadline, WaitNotice& notice) {
  if (!is_local_main() || !notice.due()) return;
  const auto ranks = not_come();
  if (ranks.empty()) return;
  log::info("{}: waiting at {} for rank {} of {} to join the job, {:.0f} s more", store_.who(),
            store_.endpoint().text(), distributed::list_ranks(ranks), world_size(),
            std::chrono::duration<double>(deadline.left()).count());
}

void StoreBoard::look_for_missing(const Deadline& deadline) {
  std::vector<int> missing;
  for (int r = 1; r < world_size(); ++r) {
    if (has("found", r)) continue;
    if (has("where", r)) {
      if (has("left", r)) throw_failure(r, key_of("left", r));
      check_life(r);  // it looks at its files, however long that takes
    } else if (has("away", r)) {
      throw_failure(r, key_of("away", r));
    } else {
      missing.push_back(r);
    }
  }
  if (missing.empty() || !deadline.passed()) return;
  throw PeerError(
      "{}: rank {} of {} did not come to the job within {:.0f} s. Is it running, and did it reach {}?",
      store_.who(), distributed::list_ranks(missing), world_size(),
      std::chrono::duration<double>(store_.timeout()).count(), store_.endpoint().text());
}

bool StoreBoard::shares_cpus() { return store_.add(cpus_key_, 0) >= member_.local_world_size; }

void StoreBoard::report(size_t batch, const std::string& result, size_t images) {
  store_.set(key_of("result", static_cast<int64_t>(batch)), result);
  if (images > 0) store_.add("images", static_cast<int64_t>(images));
}

std::optional<std::string> StoreBoard::reported(size_t batch) {
  const std::string key = key_of("result", static_cast<int64_t>(batch));
  if (!store_.check({key})) return {};
  return store_.get(key);
}

void StoreBoard::leave(const std::optional<Failure>& failure) {
  if (membership_ == Membership::refused || membership_ == Membership::left || (is_main() && !failure))
    return;
  Json said = Json::object();
  if (failure) said = to_json(*failure);
  // Before it has joined, a process is heard only by those that still wait for this rank.
  const char* what = membership_ == Membership::joined && !is_main() ? "left" : "away";
  membership_ = Membership::left;
  store_.set(key_of(what, rank()), json_text(said));
}

void StoreBoard::wait_for_others(const std::function<void()>& idle) {
  std::vector<int> others;
  for (int r = 1; r < world_size(); ++r) others.push_back(r);
  signs_.clear();  // what was seen long ago proves nothing
  while (!others.empty()) {
    idle();
    std::this_thread::sleep_for(kIdleInterval);
    std::erase_if(others, [&](int r) {
      if (!has("left", r)) {
        check_life(r);
        return false;
      }
      if (!parse_json(store_.get(key_of("left", r)), "store").empty()) throw_failure(r, key_of("left", r));
      return true;
    });
  }
}

}  // namespace diffract::jobs
