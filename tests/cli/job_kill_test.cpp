// Workers of a job killed at random points and started again, as a launcher does: nothing is lost, nothing is
// half there, and hardly anything is computed twice.
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <mutex>
#include <random>
#include <thread>

#include "diffract/distributed/store.h"
#include "tests/cli/job_fixture.h"

namespace diffract::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

// Looks at every picture in the moment when it gets its name, or is written to under it.
class Watcher {
 public:
  Watcher(const fs::path& folder, const std::map<std::string, std::string>& expected)
      : folder_(folder),
        expected_(expected),
        events_(::inotify_init1(IN_CLOEXEC)),
        stop_(::eventfd(0, EFD_CLOEXEC)) {
    ::inotify_add_watch(events_, folder.c_str(), IN_CREATE | IN_MOVED_TO | IN_MODIFY | IN_DELETE);
    thread_ = std::thread([this] { watch(); });
  }
  ~Watcher() { finish(); }
  // What it saw wrong; how many pictures it saw come.
  std::pair<std::vector<std::string>, size_t> finish() {
    if (thread_.joinable()) {
      ::eventfd_write(stop_, 1);
      thread_.join();
      ::close(events_);
      ::close(stop_);
    }
    return {wrong_, seen_};
  }

 private:
  void watch() {
    alignas(inotify_event) std::array<char, 16384> buffer;
    for (;;) {
      std::array<pollfd, 2> both = {pollfd{events_, POLLIN, 0}, pollfd{stop_, POLLIN, 0}};
      ::poll(both.data(), both.size(), -1);
      if (both[0].revents == 0) return;  // told to stop, and nothing left to look at
      const ssize_t size = ::read(events_, buffer.data(), buffer.size());
      for (ssize_t at = 0; at < size;) {
        const auto* event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
        look(event->mask, event->len > 0 ? event->name : "");
        at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
      }
    }
  }
  void look(uint32_t mask, const std::string& name) {
    if (name.empty() || name.front() == '.' || !name.ends_with(".png")) return;
    if ((mask & IN_MOVED_TO) == 0) {
      wrong_.push_back(name + ": written to, or removed, under its final name");
      return;
    }
    ++seen_;
    const auto wanted = expected_.find(name);
    if (wanted == expected_.end() || load_text(folder_ / name, 1 << 24) != wanted->second)
      wrong_.push_back(name + ": is not the whole picture");
  }

  fs::path folder_;
  const std::map<std::string, std::string>& expected_;
  int events_, stop_;
  std::vector<std::string> wrong_;
  size_t seen_ = 0;
  std::thread thread_;
};

struct Outcome {
  int kills = 0;  // random points
  int ended = 0;  // workers that were killed, the others of a killed one's group among them
  size_t begun = 0, computed_again = 0;
};

class JobKill : public JobTest {
 protected:
  static constexpr size_t kImages = 32;
  static constexpr int kWorkers = 2;

  void SetUp() override {
    const auto begin = std::chrono::steady_clock::now();
    ASSERT_EQ(alone(prompts(kImages), "one/{index}.png").exit_code, 0);
    undisturbed_ = std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - begin);
    expected_ = pictures("one");
  }

  // One job whose workers are killed at most `most` times, each a random time after their start.
  Outcome run_job_with_kills(const std::string& name, int most) {
    const auto store = distributed::Store::serve({.host = "127.0.0.1", .port = 0});
    fs::create_directories(folder_ / name);
    Watcher watcher(folder_ / name, expected_);
    Outcome outcome;
    std::set<std::string> finished;  // batches, as the workers' logs say
    for (int restart = 0; restart <= most; ++restart) {
      const bool kills = outcome.kills < most;
      auto ranks = start_ranks(command(prompts(kImages), name + "/{index}.png"), kWorkers,
                               store.endpoint().port, folder_.path().string(),
                               {{"TORCHELASTIC_USE_AGENT_STORE", "True"},
                                {"TORCHELASTIC_RUN_ID", name},
                                {"TORCHELASTIC_RESTART_COUNT", std::to_string(restart)},
                                {"TORCHELASTIC_MAX_RESTARTS", std::to_string(most)},
                                {"DIFFRACT_LOG", "debug"}});
      const bool done = kills ? survive_a_kill(ranks, outcome) : wait_for_all(ranks);
      read_logs(ranks, finished, outcome);
      if (done) break;
    }
    const auto [wrong, seen] = watcher.finish();
    EXPECT_TRUE(wrong.empty()) << wrong.front();
    EXPECT_GE(seen, kImages);
    EXPECT_EQ(pictures(name), expected_);
    expect_whole_manifest(name, kImages);
    return outcome;
  }

  // True when the job was done before the moment came.
  bool survive_a_kill(std::vector<RunningProcess>& ranks, Outcome& outcome) {
    auto& victim = ranks[random_() % kWorkers];
    const milliseconds moment(random_() % static_cast<unsigned>(undisturbed_.count() + 1));
    if (victim.wait_for(moment)) {
      EXPECT_EQ(victim.wait_for(milliseconds(0)), 0) << victim.errors();
      return wait_for_all(ranks);
    }
    victim.signal(SIGKILL);
    ++outcome.kills;
    // A launcher ends the others of the group: politely, or at once.
    const int signal = random_() % 2 ? SIGTERM : SIGKILL;
    for (auto& process : ranks) process.signal(signal);
    for (auto& process : ranks) {
      EXPECT_TRUE(process.wait_for(kPatience)) << "does not end";
      outcome.ended += process.wait_for(milliseconds(0)) != 0 ? 1 : 0;
    }
    return false;
  }

  static bool wait_for_all(std::vector<RunningProcess>& ranks) {
    for (auto& process : ranks) EXPECT_EQ(process.wait_for(kPatience), 0) << process.errors();
    return true;
  }

  // Counts the batches that were begun, and those that were begun although an earlier start had finished
  // them.
  static void read_logs(const std::vector<RunningProcess>& ranks, std::set<std::string>& finished,
                        Outcome& outcome) {
    std::set<std::string> now;
    for (const auto& process : ranks) {
      std::istringstream log(process.errors());
      for (std::string line; std::getline(log, line);) {
        const size_t at = line.find("batch ");
        if (at == std::string::npos) continue;
        const std::string batch = line.substr(at, line.find(' ', at + 6) - at);
        if (line.ends_with("begins")) {
          ++outcome.begun;
          outcome.computed_again += finished.count(batch);
        }
        if (line.ends_with("is finished")) now.insert(batch);
      }
    }
    finished.merge(now);
  }

  void survive(int points) {
    int total = 0;
    for (int job = 0; total < points; ++job) {
      const Outcome outcome = run_job_with_kills(fmt::format("job{}", job), std::min(8, points - total));
      total += outcome.kills;
      EXPECT_EQ(outcome.computed_again, 0u);
      // Of each that ended, the batch that it was computing and the one that it was saving.
      EXPECT_LE(outcome.begun, kImages + 2 * static_cast<size_t>(outcome.ended));
      if (HasFailure()) FAIL() << "job " << job << " of seed " << kSeed;
      fs::remove_all(folder_ / fmt::format("job{}", job));
    }
  }

  static constexpr unsigned kSeed = 20;
  std::mt19937 random_{kSeed};
  milliseconds undisturbed_{};
  std::map<std::string, std::string> expected_;
};

TEST_F(JobKill, LosesNothingAtRandomPoints) {
  const char* points = std::getenv("DIFFRACT_KILL_POINTS");  // the slow test asks for more
  survive(points ? std::atoi(points) : 40);
}

}  // namespace
}  // namespace diffract::test
