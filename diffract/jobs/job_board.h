#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "diffract/core/error.h"
#include "diffract/core/json.h"
#include "diffract/distributed/split.h"

namespace diffract::jobs {

/// What went wrong with a rank or with a picture, as the others are told.
struct Failure {
  ErrorKind kind;
  std::string message;
};
/// What the exception that is being handled says, of whatever type.
Failure current_failure();
/// For the way through a store.
Json to_json(const Failure& failure);
/// What to_json gave; throws CheckpointError for anything else.
Failure failure_of(const Json& json);

/// Where the processes of a job meet: what is done already, who takes what, what is finished. Batches are
/// numbered over the whole job. All calls throw PeerError when the others are lost.
class JobBoard {
 public:
  virtual ~JobBoard() = default;
  virtual distributed::WorldRank place() const = 0;
  int rank() const { return place().rank; }
  int world_size() const { return place().world_size; }
  bool is_main() const { return rank() == 0; }
  /// True for the one process of each host that looks after the host's files.
  virtual bool is_local_main() const = 0;
  /// True when the job was begun before and lost some of its processes: it is to go on.
  virtual bool is_restart() const = 0;

  /// Every process calls this first, with a text that tells its job from others. Throws UsageError when the
  /// main process has another job, or another process this rank: then the job does not hear of this process.
  virtual void join(const std::string& job) = 0;
  /// Once joined: true when others of the job are at work already, and this process came back to them.
  virtual bool rejoined() const = 0;
  /// Then what each found finished, one entry a batch. Waits for all, and gives all of them the same answer:
  /// what any of them found. Throws PeerError naming a rank that does not come or is lost, and the error of
  /// one that says why it will not come.
  virtual std::vector<bool> agree_on_finished(const std::vector<bool>& found) = 0;
  /// Once agreed: whether the processes of this host may all run on the same CPUs, so that they have to share
  /// them; mpirun or srun may have given each its own already.
  virtual bool shares_cpus() = 0;
  /// 0, 1, 2, ...: each number once over all processes.
  virtual size_t take() = 0;
  /// Says that a batch of `images` pictures is finished; `result` is for the main process. Pictures that were
  /// finished before count 0.
  virtual void report(size_t batch, const std::string& result, size_t images) = 0;
  /// What was reported of a batch.
  virtual std::optional<std::string> reported(size_t batch) = 0;
  /// How many pictures were reported by all.
  virtual size_t images_reported() = 0;
  /// The last call: the process is through, or it failed, be it before it joined. A second call says nothing.
  virtual void leave(const std::optional<Failure>& failure) = 0;
  /// The main process waits until all others have left; `idle` is called several times a second. Throws the
  /// failure of one that failed, and PeerError naming one that gives no sign of life.
  virtual void wait_for_others(const std::function<void()>& idle) = 0;
};

/// The board of a job in one process.
class LocalBoard : public JobBoard {
 public:
  explicit LocalBoard(bool is_restart = false) : is_restart_(is_restart) {}
  distributed::WorldRank place() const override { return {}; }
  bool is_local_main() const override { return true; }
  bool is_restart() const override { return is_restart_; }
  void join(const std::string&) override {}
  bool rejoined() const override { return false; }
  std::vector<bool> agree_on_finished(const std::vector<bool>& found) override { return found; }
  bool shares_cpus() override { return false; }
  size_t take() override { return taken_++; }
  void report(size_t batch, const std::string& result, size_t images) override;
  std::optional<std::string> reported(size_t batch) override;
  size_t images_reported() override { return images_; }
  void leave(const std::optional<Failure>&) override {}
  void wait_for_others(const std::function<void()>&) override {}

 private:
  bool is_restart_;
  size_t taken_ = 0, images_ = 0;
  std::map<size_t, std::string> results_;
};

}  // namespace diffract::jobs
