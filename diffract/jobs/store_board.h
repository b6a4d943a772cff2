#pragma once
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "diffract/core/wait_notice.h"
#include "diffract/distributed/rendezvous.h"
#include "diffract/distributed/store.h"
#include "diffract/jobs/job_board.h"

namespace diffract::jobs {

/// Who a process is among those of a job.
struct JobMember {
  distributed::WorldRank place;
  int local_rank = 0, local_world_size = 1;
  std::string run = "0";    // tells this start of the processes from others that met in the same store
  bool is_restart = false;  // the run before this one lost some of its processes
};

/// The board of a job whose processes meet in a store. Nothing but small texts goes through it, and no
/// collectives: a process that is slow, late or lost holds up nobody but the main process at the end. The
/// main process says which job it is and collects what the others found; the others wait for its word alone.
class StoreBoard : public JobBoard {
 public:
  /// `silence`: how long a process may give no sign of life before it counts as lost. Writes nothing yet: the
  /// store may be another job's.
  StoreBoard(const distributed::Store& store, JobMember member,
             std::chrono::milliseconds silence = std::chrono::seconds(30));
  ~StoreBoard() override;

  distributed::WorldRank place() const override { return member_.place; }
  bool is_local_main() const override { return member_.local_rank == 0; }
  bool is_restart() const override { return member_.is_restart; }
  bool rejoined() const override { return rejoined_; }
  void join(const std::string& job) override;
  std::vector<bool> agree_on_finished(const std::vector<bool>& found) override;
  bool shares_cpus() override;
  size_t take() override { return static_cast<size_t>(store_.add("taken", 1) - 1); }
  void report(size_t batch, const std::string& result, size_t images) override;
  std::optional<std::string> reported(size_t batch) override;
  size_t images_reported() override { return static_cast<size_t>(store_.add("images", 0)); }
  void leave(const std::optional<Failure>& failure) override;
  void wait_for_others(const std::function<void()>& idle) override;

 private:
  using Clock = std::chrono::steady_clock;
  struct Sign {
    int64_t count = -1;
    Clock::time_point seen, looked;
  };
  enum class Membership { outside, refused, joined, left };

  void take_rank();
  bool holds_rank(const distributed::Peer& earlier);
  void live(distributed::Store store);  // a thread: signs of life
  void wait_for_main(const std::string& key);
  std::string collect_found(size_t batches);
  void look_for_missing(const net::Deadline& deadline);
  std::vector<int> not_come();
  void say_who_is_waited_for(const net::Deadline& deadline, WaitNotice& notice);
  void check_life(int rank);
  [[noreturn]] void throw_failure(int rank, const std::string& key);
  bool has(const char* what, int rank);

  JobMember member_;
  std::chrono::milliseconds silence_;
  distributed::Store store_;
  Membership membership_ = Membership::outside;
  bool rejoined_ = false;
  std::string cpus_key_;       // counts the processes of this host that may run on the same CPUs
  std::map<int, Sign> signs_;  // of life, of other ranks
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;
  std::thread life_;
};

}  // namespace diffract::jobs
