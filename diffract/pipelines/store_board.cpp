#include "diffract/pipelines/store_board.h"

#include <unistd.h>

#include <algorithm>
#include <array>

#include "diffract/core/json.h"
#include "diffract/core/log.h"

namespace diffract::pipelines {
namespace {

using std::chrono::milliseconds;
constexpr milliseconds kLifeInterval{1000}, kIdleInterval{50};

std::string key_of(const char* what, int64_t number) { return fmt::format("{}/{}", what, number); }

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "?";
}

// Another process, named for a message.
std::string named(int rank, int world_size, const std::string& where) {
  return fmt::format("rank {} of {} ({})", rank, world_size, where);
}

}  // namespace

StoreBoard::StoreBoard(const distributed::Store& store, const JobMember& member, milliseconds silence)
    : member_(member), silence_(silence), store_(store.with_prefix("job/" + member.run)) {
  store_.set(key_of("where", rank()), fmt::format("host {}, pid {}", host_name(), ::getpid()));
  life_ = std::thread(&StoreBoard::live, this);
}

StoreBoard::~StoreBoard() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_all();
  life_.join();
}

// A thread of its own, because a denoising step may take minutes. Whether steps still come is the launcher's
// business; here it is whether the process is there at all.
void StoreBoard::live() {
  try {
    distributed::Store store = store_.another_connection();
    std::unique_lock lock(mutex_);
    do {
      store.add(key_of("alive", rank()), 1);
    } while (!stop_.wait_for(lock, kLifeInterval, [&] { return stopping_; }));
  } catch (const Error& error) {
    log::debug("{}", error.what());  // the next call of the job itself says so
  }
}

bool StoreBoard::came_back() { return store_.check({key_of("found", rank())}); }

std::vector<bool> StoreBoard::agree_on_finished(const std::string& job, const std::vector<bool>& found) {
  std::string mine = job + ":";
  if (std::find(found.begin(), found.end(), true) != found.end())
    for (const bool finished : found) mine += finished ? '1' : '0';
  // The first answer holds: who comes back finds more, but the others have agreed.
  store_.compare_set(key_of("found", rank()), "", mine);
  std::vector<bool> all(found.size(), false);
  for (int r = 0; r < world_size(); ++r) {
    if (!store_.wait_for({key_of("found", r)}, store_.timeout()))
      throw PeerError(
          "{}: rank {} of {} did not come to the job within {:.0f} s. Is it running, and did it reach {}?",
          store_.who(), r, world_size(), std::chrono::duration<double>(store_.timeout()).count(),
          store_.endpoint().text());
    const std::string theirs = store_.get(key_of("found", r));
    const size_t colon = theirs.find(':');
    if (theirs.substr(0, colon) != job)
      throw UsageError("{}: rank {} of {} has another job. Give all ranks the same options and prompts",
                       store_.who(), r, world_size());
    for (size_t b = 0; b < all.size() && colon + 1 + b < theirs.size(); ++b)
      if (theirs[colon + 1 + b] == '1') all[b] = true;
  }
  return all;
}

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
  Json said = Json::object();
  if (failure) said = to_json(*failure);
  store_.set(key_of("left", rank()), said.dump(-1, ' ', false, Json::error_handler_t::replace));
}

void StoreBoard::check_left(int other) {
  const Json said = parse_json(store_.get(key_of("left", other)), "store");
  if (said.empty()) return;
  const Failure failure = failure_of(said);
  throw Error(failure.kind, fmt::format("rank {} of {}: {}", other, world_size(), failure.message));
}

void StoreBoard::wait_for_others(const std::function<void()>& idle) {
  using Clock = std::chrono::steady_clock;
  struct Sign {
    int64_t count = -1;
    Clock::time_point seen = Clock::now();
  };
  std::map<int, Sign> others;
  for (int r = 1; r < world_size(); ++r) others.emplace(r, Sign{});
  auto looked = Clock::now() - kLifeInterval;
  while (!others.empty()) {
    idle();
    std::this_thread::sleep_for(kIdleInterval);
    const bool look = Clock::now() - looked >= kLifeInterval;
    if (look) looked = Clock::now();
    for (auto other = others.begin(); other != others.end();) {
      const auto [r, sign] = *other;
      if (store_.check({key_of("left", r)})) {
        check_left(r);
        other = others.erase(other);
        continue;
      }
      if (look) {
        const int64_t count = store_.add(key_of("alive", r), 0);
        if (count != sign.count) other->second = {.count = count, .seen = Clock::now()};
        if (Clock::now() - other->second.seen > silence_)
          throw PeerError("{}: {} gave no sign of life for {} s. See that rank's own output", store_.who(),
                          named(r, world_size(), store_.get(key_of("where", r))),
                          std::chrono::duration_cast<std::chrono::seconds>(silence_).count());
      }
      ++other;
    }
  }
}

}  // namespace diffract::pipelines
