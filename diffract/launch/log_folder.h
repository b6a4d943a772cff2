#pragma once
#include <filesystem>
#include <string>

namespace diffract::launch {

/// The folder of a job's log files, laid out as torchrun does: DIR/ID_xxxxxx/attempt_N/LOCAL_RANK/ with
/// stdout.log, stderr.log and error.json. Without a DIR it lies among the temporary files and goes when all
/// went well, unless it is to be kept; then it is named to the user.
class LogFolder {
 public:
  /// Throws IoError naming the folder that cannot be made.
  LogFolder(const std::string& log_dir, const std::string& run_id, bool keep);

  /// Makes and gives the folder of one worker in one start of the job.
  std::filesystem::path worker(int restart_count, int local_rank);
  /// Removes the folder if it is a temporary one that is not to be kept.
  void discard();

 private:
  std::filesystem::path base_, run_;
  bool temporary_, keep_;
};

}  // namespace diffract::launch
