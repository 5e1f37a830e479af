#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "runtime/cells.h"

namespace wscope::telemetry {

// Where log lines end. A sink never blocks for long and never fails: what it can not write is
// dropped in whole lines and counted.
//
// Thread: write() on the collector; the counts anywhere.
class LogSink {
 public:
  virtual ~LogSink() = default;
  // Whole lines, each ended by a newline.
  virtual void write(std::string_view whole_lines) = 0;
  // Tries what is still waiting. Called once a tick.
  virtual void flush() {}
  // For people and for the label `sink`: "console", "file".
  virtual std::string_view name() const = 0;
  uint64_t lines_dropped() const { return lines_dropped_.read(); }
  uint64_t bytes_written() const { return bytes_written_.read(); }
  // Failed calls of the operating system.
  uint64_t errors() const { return errors_.read(); }

 protected:
  void count_dropped(std::string_view lines);
  runtime::Cell lines_dropped_;
  runtime::Cell bytes_written_;
  runtime::Cell errors_;
};

// A terminal, pipe or redirected file. A reader that is slow is waited for up to 50 ms a call as
// long as it takes something; then up to 1 MiB is kept for it, and further lines are dropped.
class ConsoleSink final : public LogSink {
 public:
  static constexpr size_t kPendingMax = 1 << 20;
  static constexpr int kPatienceMs = 50;

  // Borrows the descriptor. Its flags stay as they are: others may share them.
  explicit ConsoleSink(int fd = 2);
  ~ConsoleSink() override;
  void write(std::string_view whole_lines) override;
  void flush() override;
  std::string_view name() const override { return "console"; }

 private:
  size_t write_some(std::string_view bytes, int patience_ms);
  int fd_;
  bool own_ = false;     // fd_ is our own open file with O_NONBLOCK
  bool blocks_ = false;  // fd_ may block, so only what poll() promises is written
  bool stuck_ = false;   // the reader took nothing last time
  std::string pending_;  // begins within a line or at its start
};

// A file that is renamed to .1 (.1 to .2, …) when the next line would make it larger than
// `bytes_max`. Lines are never split over two files; a line larger than `bytes_max` has a file to
// itself. A full disk or a missing folder is tried again once a second; a file that someone else
// moved away is made anew.
class RotatingFileSink final : public LogSink {
 public:
  struct Options {
    std::string path;
    uint64_t bytes_max = 10 << 20;
    int backups = 5;  // 0: the file is emptied instead
  };

  // Opens (and makes the folder of) the file. Returns io or exists. Borrows `clock`.
  static base::Result<std::unique_ptr<RotatingFileSink>> open(base::Clock const& clock,
                                                              Options options);
  ~RotatingFileSink() override;
  void write(std::string_view whole_lines) override;
  std::string_view name() const override { return "file"; }

 private:
  RotatingFileSink(base::Clock const& clock, Options options);
  base::Status reopen();
  void rotate();
  void release();
  size_t write_run(std::string_view lines);
  void check_moved();

  base::Clock const& clock_;
  Options const options_;
  int fd_ = -1;
  uint64_t size_ = 0;
  bool torn_ = false;      // the file ends within a line
  bool reserved_ = false;  // blocks beyond the file's end have been asked for
  int64_t rotated_ns_ = INT64_MIN / 2;
  int64_t retry_at_ns_ = 0;
  int64_t check_at_ns_ = 0;
};

}  // namespace wscope::telemetry
