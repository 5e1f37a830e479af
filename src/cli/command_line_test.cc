#include "cli/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

namespace wscope::cli {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

struct Outcome {
  int code = -1;
  std::string out;
  std::string err;
  std::vector<app::Config> served;
};

// Runs the command line with a server that notes what it was given and returns 7.
Outcome run_with(std::vector<std::string> arguments) {
  Outcome outcome;
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  outcome.code = run(std::move(arguments), [&](app::Config const& config, auto const&) {
    outcome.served.push_back(config);
    return 7;
  });
  outcome.out = testing::internal::GetCapturedStdout();
  outcome.err = testing::internal::GetCapturedStderr();
  return outcome;
}

class ConfigFile {
 public:
  explicit ConfigFile(std::string_view content) {
    char name[] = "/tmp/wscope-cli-XXXXXX";
    folder_ = mkdtemp(name);
    write(content);
  }
  ~ConfigFile() { std::filesystem::remove_all(folder_); }
  void write(std::string_view content) { std::ofstream(path()) << content; }
  std::string path() const { return folder_ + "/w.yaml"; }

 private:
  std::string folder_;
};

TEST(CommandLine, UpWithoutFlagsServesTheDefaults) {
  Outcome const outcome = run_with({"up"});
  EXPECT_EQ(outcome.code, 7) << outcome.err;
  ASSERT_EQ(outcome.served.size(), 1u);
  EXPECT_EQ(app::to_yaml(outcome.served[0]), app::to_yaml(app::Config{}));
}

TEST(CommandLine, EveryFlagOfUpReachesTheConfiguration) {
  Outcome const outcome = run_with({"up",
                                    "--listen",
                                    "127.0.0.1:1",
                                    "--observer",
                                    "0.0.0.0:2",
                                    "--upstream",
                                    "https://b:3",
                                    "--data",
                                    "d",
                                    "--otlp",
                                    "http://o:4",
                                    "--loops",
                                    "5",
                                    "--log-messages",
                                    "--log-level",
                                    "error",
                                    "--no-console",
                                    "--trace-ratio",
                                    "0.5",
                                    "--telemetry",
                                    "off",
                                    "--tls-cert",
                                    "c",
                                    "--tls-key",
                                    "k",
                                    "--upstream-ca",
                                    "ca",
                                    "--insecure"});
  ASSERT_EQ(outcome.served.size(), 1u) << outcome.err;
  app::Config const& config = outcome.served[0];
  EXPECT_EQ(config.gateway.listen, "127.0.0.1:1");
  EXPECT_EQ(config.observer.listen, "0.0.0.0:2");
  EXPECT_TRUE(config.observer.insecure);
  EXPECT_EQ(config.gateway.upstream, "https://b:3");
  EXPECT_EQ(config.gateway.upstream_ca, "ca");
  EXPECT_EQ(config.gateway.tls.cert, "c");
  EXPECT_EQ(config.gateway.tls.key, "k");
  EXPECT_EQ(config.data, "d");
  EXPECT_EQ(config.loops, 5u);
  EXPECT_FALSE(config.telemetry);
  EXPECT_EQ(config.trace.otlp, "http://o:4");
  EXPECT_EQ(config.trace.ratio, 0.5);
  EXPECT_EQ(config.log.level, "ERROR");
  EXPECT_FALSE(config.log.console);
  EXPECT_EQ(config.log.loggers.at("websocket.message"), "DEBUG");
}

TEST(CommandLine, WrongConfigurationIsExitTwoAndServesNothing) {
  ConfigFile const file("gateway:\n  listne: 1\n");
  Outcome const outcome = run_with({"up", "--config", file.path(), "--loops=x"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_TRUE(outcome.served.empty());
  EXPECT_EQ(outcome.err, file.path() +
                             ":2: gateway.listne: expected a known key, found 'listne'; did you "
                             "mean 'listen'?\n--loops: loops: expected a whole number from 0 to "
                             "1024, found 'x'\n");
  EXPECT_EQ(run_with({"up", "--config", file.path() + ".gone"}).code, 2);
}

TEST(CommandLine, ReloadReadsTheFileAgainBelowTheSameFlags) {
  ConfigFile file("loops: 1\ndata: one\n");
  int checked = 0;
  int const code = run({"up", "--config", file.path(), "--data", "flag"},
                       [&](app::Config const& config, auto const& reload) {
                         EXPECT_EQ(config.loops, 1u);
                         file.write("loops: 2\ndata: two\n");
                         auto const again = reload();
                         EXPECT_TRUE(again && again->loops == 2 && again->data == "flag");
                         file.write("loops: two\n");
                         auto const bad = reload();
                         EXPECT_FALSE(bad);
                         if (!bad) {
                           EXPECT_THAT(bad.error().what, HasSubstr("w.yaml:1: loops: expected"));
                         }
                         ++checked;
                         return 0;
                       });
  EXPECT_EQ(code, 0);
  EXPECT_EQ(checked, 1);
}

TEST(CommandLine, UnknownWordsAreExitTwoWithTheNearestOne) {
  struct Case {
    std::vector<std::string> arguments;
    char const* first_line;
  };
  Case const cases[] = {
      {{"up", "--upsteam", "http://x:1"},
       "wscope up: unknown option --upsteam; did you mean '--upstream'?\n"},
      {{"up", "--obsrver=1"}, "wscope up: unknown option --obsrver; did you mean '--observer'?\n"},
      {{"up", "extra"}, "wscope up: unexpected argument extra\n"},
      {{"lod", "ws://x"}, "wscope: unknown command lod; did you mean 'load'?\n"},
      {{"--verison"}, "wscope: unknown option --verison; did you mean '--version'?\n"},
      {{"up", "--listen"}, "wscope up: --listen"},
      {{"check"}, "wscope check: expected a FILE, or --keys\n"},
  };
  for (Case const& c : cases) {
    Outcome const outcome = run_with(c.arguments);
    EXPECT_EQ(outcome.code, 2) << c.first_line;
    EXPECT_THAT(outcome.err, StartsWith(c.first_line));
    EXPECT_TRUE(outcome.served.empty());
  }
}

TEST(CommandLine, HelpAndVersionGoToStdout) {
  Outcome const help = run_with({"--help"});
  EXPECT_EQ(help.code, 0);
  for (char const* word : {"up", "load", "check", "version", "Examples:"}) {
    EXPECT_THAT(help.out, HasSubstr(word));
  }
  EXPECT_THAT(run_with({"up", "--help"}).out, HasSubstr("--upstream URL"));
  EXPECT_THAT(run_with({"--version"}).out, testing::MatchesRegex("wscope [0-9.]+\n"));
  EXPECT_EQ(run_with({"version"}).out, run_with({"--version"}).out);
  Outcome const bare = run_with({});
  EXPECT_EQ(bare.code, 2);
  EXPECT_EQ(bare.err, help.out);
}

TEST(CommandLine, CheckSaysOkOrPrintsWhatIsInForce) {
  ConfigFile const file("observer: {token: s3cret}\nloops: 3\n");
  Outcome const ok = run_with({"check", file.path()});
  EXPECT_EQ(ok.code, 0);
  EXPECT_EQ(ok.out, file.path() + ": ok\n");
  Outcome const printed = run_with({"check", file.path(), "--print"});
  EXPECT_THAT(printed.out, HasSubstr("loops: 3\n"));
  EXPECT_THAT(printed.out, HasSubstr("token: '***'\n"));
  EXPECT_THAT(run_with({"check", "--keys"}).out, HasSubstr("| WSCOPE_OBSERVER_TOKEN |"));

  setenv("WSCOPE_LOOPS", "4", 1);
  setenv("WSCOPE_LOPS", "5", 1);
  Outcome const over = run_with({"check", file.path(), "--print"});
  unsetenv("WSCOPE_LOOPS");
  unsetenv("WSCOPE_LOPS");
  EXPECT_THAT(over.out, HasSubstr("loops: 4\n"));
  EXPECT_THAT(over.err, HasSubstr("WSCOPE_LOPS is not known; did you mean 'WSCOPE_LOOPS'?"));

  ConfigFile const bad("loops: -1\n");
  Outcome const refused = run_with({"check", bad.path()});
  EXPECT_EQ(refused.code, 2);
  EXPECT_EQ(refused.err,
            bad.path() + ":1: loops: expected a whole number from 0 to 1024, found '-1'\n");
}

}  // namespace
}  // namespace wscope::cli
