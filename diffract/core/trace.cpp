#include "diffract/core/trace.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <utility>
#include <vector>

#include "diffract/core/file.h"
#include "diffract/core/json.h"

namespace diffract::trace {
namespace {

int64_t now() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

struct Event {
  const char* kind;
  std::string name, lane;
  int64_t begin, end;
  int64_t thread;
};

// Written once, at the latest by its destructor.
class Trace {
 public:
  Trace() {
    if (const char* given = std::getenv("DIFFRACT_TRACE")) file_ = given;
  }
  ~Trace() { write(); }
  void write() {
    const std::lock_guard lock(mutex_);
    if (file_.empty() || std::exchange(is_written_, true)) return;
    Json list = Json::array();
    for (const Event& event : events_)
      list.push_back({{"name", event.name},
                      {"cat", event.kind},
                      {"ph", "X"},
                      {"ts", event.begin - begin_},
                      {"dur", event.end - event.begin},
                      {"pid", ::getpid()},
                      {"tid", event.thread},
                      {"args", {{"lane", event.lane}}}});
    try {
      AtomicFile out(file_);
      out.write(json_text(list));
      out.commit();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "diffract: trace: %s\n", error.what());
    }
  }
  bool is_on() const { return !file_.empty(); }
  void add(Event event) {
    const std::lock_guard lock(mutex_);
    events_.push_back(std::move(event));
  }

 private:
  std::string file_;
  int64_t begin_ = now();
  std::mutex mutex_;
  std::vector<Event> events_;
  bool is_written_ = false;
};

Trace& trace() {
  static Trace only;
  return only;
}

}  // namespace

bool is_on() { return trace().is_on(); }
void write() { trace().write(); }

Span::Span(const char* kind, const std::string& name, const std::string& lane) {
  if (name.empty() || !is_on()) return;
  kind_ = kind;
  name_ = name;
  lane_ = lane;
  begin_ = now();
}

Span::~Span() {
  if (kind_) trace().add({kind_, std::move(name_), std::move(lane_), begin_, now(), ::syscall(SYS_gettid)});
}

}  // namespace diffract::trace
