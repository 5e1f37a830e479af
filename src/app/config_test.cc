#include "app/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "app/config_keys.h"
#include "app/version.h"

namespace wscope::app {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

Loaded good(std::string_view yaml, Sources const& sources = {}) {
  auto loaded = load_text(yaml, "w.yaml", sources);
  EXPECT_TRUE(loaded.has_value()) << loaded.error().what;
  return loaded ? *loaded : Loaded{};
}

// The faults of a file, one a line; "" if it has none.
std::string faults(std::string_view yaml, Sources const& sources = {}) {
  auto const loaded = load_text(yaml, "w.yaml", sources);
  if (loaded) return "";
  EXPECT_EQ(loaded.error().code, base::Errc::invalid);
  return loaded.error().what;
}

class Folder {
 public:
  Folder() {
    char name[] = "/tmp/wscope-config-XXXXXX";
    path_ = mkdtemp(name);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string write(std::string const& name, std::string_view content) {
    std::ofstream(path_ + "/" + name) << content;
    return path_ + "/" + name;
  }

 private:
  std::string path_;
};

TEST(Config, EmptyFileIsAllDefaults) {
  Config const config = good("").config;
  EXPECT_EQ(config.gateway.listen, "127.0.0.1:8080");
  EXPECT_EQ(config.observer.listen, "127.0.0.1:9600");
  EXPECT_EQ(config.gateway.message_limit, 16'777'216u);
  EXPECT_EQ(config.gateway.session.grace_ns, 30'000'000'000);
  EXPECT_EQ(config.log_path(), "data/logs/wscope.log");
  EXPECT_EQ(to_yaml(config), to_yaml(Config{}));
}

TEST(Config, ReadsEveryKindOfValue) {
  Config const config = good(R"(
loops: 3
gateway:
  listen: "[::1]:0"
  tls: {cert: c.pem, key: k.pem}
  upstream: https://backend.example:8443
  connect_timeout: 1m30s
  message_limit: 2 MiB
  count_outbound: yes
  session: {cookie: "", header: X-Session, grace: 0}
observer: {token: hunter2}
log: {level: warning, console: off, file: , loggers: {websocket.message: DEBUG, http: error}}
trace: {otlp: "http://127.0.0.1:4318/v1/traces", ratio: 0.25, encoding: json}
)")
                            .config;
  EXPECT_EQ(config.loops, 3u);
  EXPECT_EQ(config.gateway.listen, "[::1]:0");
  EXPECT_EQ(config.gateway.tls.key, "k.pem");
  EXPECT_EQ(config.gateway.upstream, "https://backend.example:8443");
  EXPECT_EQ(config.gateway.connect_timeout_ns, 90'000'000'000);
  EXPECT_EQ(config.gateway.message_limit, 2u << 20);
  EXPECT_TRUE(config.gateway.count_outbound);
  EXPECT_EQ(config.gateway.session.cookie, "");
  EXPECT_EQ(config.gateway.session.header, "X-Session");
  EXPECT_EQ(config.gateway.session.grace_ns, 0);
  EXPECT_EQ(config.observer.token, "hunter2");
  EXPECT_EQ(config.log.level, "WARNING");
  EXPECT_FALSE(config.log.console);
  EXPECT_EQ(config.log_path(), "");
  EXPECT_THAT(config.log.loggers,
              testing::ElementsAre(testing::Pair("http", "ERROR"),
                                   testing::Pair("websocket.message", "DEBUG")));
  EXPECT_EQ(config.trace.ratio, 0.25);
  EXPECT_EQ(config.trace.encoding, "json");
}

// One fault each: the file, and the line that must be said.
struct FaultCase {
  char const* yaml;
  char const* fault;
};

TEST(Config, SaysWhatIsWrongWhereAndWhatWasMeant) {
  FaultCase const cases[] = {
      {"gateway:\n  listne: 1.2.3.4:80\n",
       "w.yaml:2: gateway.listne: expected a known key, found 'listne'; did you mean 'listen'?"},
      {"gatway: {}\n",
       "w.yaml:1: gatway: expected a known key, found 'gatway'; did you mean 'gateway'?"},
      {"gateway: {token: x}\n",
       "w.yaml:1: gateway.token: expected a known key, found 'token'; did you mean "
       "'observer.token'?"},
      {"gateway.listen: 127.0.0.1:1\n",
       "w.yaml:1: gateway.listen: expected a known key, found 'gateway.listen'; did you mean "
       "'gateway.listen'?"},
      {"loops: many\n", "w.yaml:1: loops: expected a whole number from 0 to 1024, found 'many'"},
      {"loops: 1025\n", "w.yaml:1: loops: expected a whole number from 0 to 1024, found '1025'"},
      {"loops: [1]\n", "w.yaml:1: loops: expected a whole number from 0 to 1024, found a list"},
      {"loops:\n", "w.yaml:1: loops: expected a whole number from 0 to 1024, found nothing"},
      {"gateway: 5\n", "w.yaml:1: gateway: expected a map of keys, found '5'"},
      {"gateway:\n  drain: 5\n",
       "w.yaml:2: gateway.drain: expected a time from 0s to 1h, as '5s' or '500ms', found '5'; did "
       "you mean '5s'?"},
      {"gateway: {message_limit: 5GiB}\n",
       "w.yaml:1: gateway.message_limit: expected a size from 1B to 4GiB, as '16MiB', found "
       "'5GiB'"},
      {"gateway: {listen: 8080}\n",
       "w.yaml:1: gateway.listen: expected ADDR:PORT, as '127.0.0.1:8080', found '8080'; did you "
       "mean '127.0.0.1:8080'?"},
      {"gateway: {upstream: '127.0.0.1:8000'}\n",
       "w.yaml:1: gateway.upstream: expected http://HOST:PORT or https://HOST:PORT without a path, "
       "found '127.0.0.1:8000'; did you mean 'http://127.0.0.1:8000'?"},
      {"log: {level: loud}\n",
       "w.yaml:1: log.level: expected DEBUG, INFO, WARNING, ERROR or CRITICAL, found 'loud'"},
      {"log: {level: warn}\n",
       "w.yaml:1: log.level: expected DEBUG, INFO, WARNING, ERROR or CRITICAL, found 'warn'; did "
       "you mean 'WARNING'?"},
      {"log: {loggers: {websocket.mesage: DEBUG}}\n",
       "w.yaml:1: log.loggers.websocket.mesage: expected a logger, found 'websocket.mesage'; did "
       "you mean 'websocket.message'?"},
      {"log: {loggers: {http: LOUD}}\n",
       "w.yaml:1: log.loggers.http: expected DEBUG, INFO, WARNING, ERROR or CRITICAL, found "
       "'LOUD'"},
      {"trace: {ratio: 1.5}\n",
       "w.yaml:1: trace.ratio: expected a number from 0 to 1, found '1.5'"},
      {"trace: {ratio: NaN}\n",
       "w.yaml:1: trace.ratio: expected a number from 0 to 1, found 'NaN'"},
      {"trace: {encoding: thrift}\n",
       "w.yaml:1: trace.encoding: expected protobuf or json, found 'thrift'"},
      {"telemetry: maybe\n", "w.yaml:1: telemetry: expected true or false, found 'maybe'"},
      {"loops: 1\nloops: 2\n", "w.yaml:2: loops: expected each key once, found it in line 1 too"},
      {"- a\n", "w.yaml:1: expected keys such as 'gateway:', found a list"},
      {"a: &b 1\n", "w.yaml:1: expected a plain value, found an anchor (&)"},
      {"loops: 1\n---\nloops: 2\n", "w.yaml:3: expected one document, found a second one (---)"},
      {"observer: {token: 'two words'}\n",
       "w.yaml:1: observer.token: expected text without spaces, found something else"},
  };
  for (FaultCase const& c : cases) EXPECT_EQ(faults(c.yaml), c.fault) << c.yaml;
}

TEST(Config, RefusesUpstreamsThatCanNotBeRelayedTo) {
  for (char const* upstream : {"ftp://h:1", "http://", "http://u:p@h:1", "http://h:1/path",
                               "http://h:1?x", "http://h:0", "http://h:70000", "ws://h:1"}) {
    EXPECT_THAT(faults("gateway: {upstream: '" + std::string(upstream) + "'}"),
                StartsWith("w.yaml:1: gateway.upstream: expected http"))
        << upstream;
  }
  EXPECT_EQ(faults("gateway: {upstream: 'http://h'}"), "");
  EXPECT_EQ(faults("gateway: {upstream: 'https://[::1]:8443/'}"), "");
}

TEST(Config, ReportsAllFaultsAtOnceUpToTwenty) {
  EXPECT_EQ(faults("loops: x\ngateway:\n  listen: y\n  nope: 1\ntrace: {ratio: 2}\n"),
            "w.yaml:1: loops: expected a whole number from 0 to 1024, found 'x'\n"
            "w.yaml:3: gateway.listen: expected ADDR:PORT, as '127.0.0.1:8080', found 'y'\n"
            "w.yaml:4: gateway.nope: expected a known key, found 'nope'\n"
            "w.yaml:5: trace.ratio: expected a number from 0 to 1, found '2'");
  std::string many;
  for (int i = 0; i < 25; ++i) many += "unknown_thing_" + std::to_string(i) + ": 1\n";
  std::string const all = faults(many);
  EXPECT_EQ(std::count(all.begin(), all.end(), '\n'), 20);
  EXPECT_THAT(all, testing::EndsWith("\nand 5 more"));
}

TEST(Config, SyntaxFaultNamesTheLine) {
  EXPECT_THAT(faults("loops: 1\ngateway: {listen: [\n"), StartsWith("w.yaml:3: expected YAML"));
  EXPECT_THAT(faults("a: \"\n"), StartsWith("w.yaml:"));
}

TEST(Config, DeepAndLargeFilesAreRefusedInBoundedTime) {
  auto const deep = load_text("a: " + std::string(17, '[') + std::string(17, ']'), "w.yaml", {});
  ASSERT_FALSE(deep);
  EXPECT_EQ(deep.error().code, base::Errc::over_limit);
  EXPECT_EQ(deep.error().what, "w.yaml:1: expected at most 16 levels");
  std::string wide = "a: [";
  for (int i = 0; i < 10'001; ++i) wide += "1,";
  auto const loaded = load_text(wide + "]", "w.yaml", {});
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, base::Errc::over_limit);
  auto const unclosed = load_text(std::string(500'000, '['), "w.yaml", {});
  ASSERT_FALSE(unclosed);
  EXPECT_THAT(unclosed.error().what, StartsWith("w.yaml:1: "));
}

TEST(Config, EnvironmentOverFileAndFlagsOverBoth) {
  Sources sources;
  sources.environment = {"WSCOPE_GATEWAY_LISTEN=127.0.0.1:2", "WSCOPE_LOOPS=2", "PATH=/bin",
                         "WSCOPE_LOG_LOGGERS=http=DEBUG", "WSCOPE_DATA="};
  sources.flags = {{"gateway.listen", "127.0.0.1:3", "--listen"},
                   {"log.loggers", "websocket.message=DEBUG", "--log-messages"}};
  Config const config =
      good("gateway: {listen: '127.0.0.1:1'}\nloops: 1\nlog: {loggers: {websocket: ERROR}}",
           sources)
          .config;
  EXPECT_EQ(config.gateway.listen, "127.0.0.1:3");
  EXPECT_EQ(config.loops, 2u);
  EXPECT_EQ(config.data, "data") << "an empty variable counts as not set";
  EXPECT_EQ(config.log.loggers.size(), 3u);
}

TEST(Config, FaultsOutsideTheFileNameVariableOrFlag) {
  Sources sources;
  sources.environment = {"WSCOPE_LOOPS=x"};
  sources.flags = {{"gateway.listen", ":99", "--listen"}};
  EXPECT_EQ(faults("", sources),
            "WSCOPE_LOOPS: loops: expected a whole number from 0 to 1024, found 'x'\n"
            "--listen: gateway.listen: expected ADDR:PORT, as '127.0.0.1:8080', found ':99'; did "
            "you mean '127.0.0.1:99'?");
}

TEST(Config, WarnsOfVariablesThatLookMistyped) {
  Sources sources;
  sources.environment = {"WSCOPE_GATEWAY_LISTNE=x", "WSCOPE_SERVICE_HOST=10.0.0.1",
                         "WSCOPE_PORT_8080_TCP=tcp://10.0.0.1:8080", "WSCOPE_QUITE_ELSE=1"};
  EXPECT_THAT(good("", sources).warnings,
              testing::ElementsAre("environment: WSCOPE_GATEWAY_LISTNE is not known; did you mean "
                                   "'WSCOPE_GATEWAY_LISTEN'?"));
}

TEST(Config, ObserverBeyondLoopbackNeedsTlsAndToken) {
  std::string const open = "observer:\n  listen: 0.0.0.0:9600\n";
  EXPECT_EQ(faults(open),
            "w.yaml:2: observer.listen: expected a loopback address, or observer.tls and a token, "
            "found '0.0.0.0:9600' with neither TLS nor a token; --insecure (observer.insecure: "
            "true) allows it");
  EXPECT_THAT(faults(open + "  token: x\n"), HasSubstr("with no TLS"));
  EXPECT_THAT(faults(open + "  tls: {cert: a, key: b}\n"), HasSubstr("with no token"));
  EXPECT_EQ(faults(open + "  token: x\n  tls: {cert: a, key: b}\n"), "");
  EXPECT_EQ(faults(open + "  insecure: true\n"), "");
  EXPECT_EQ(faults("observer: {listen: 'localhost:9600'}"), "");
  EXPECT_EQ(faults("gateway: {listen: '0.0.0.0:8080'}"), "") << "the edge is meant to be reached";
}

TEST(Config, ChecksKeysAgainstEachOther) {
  EXPECT_EQ(faults("gateway: {tls: {cert: a}}"),
            "w.yaml:1: gateway.tls.cert: expected gateway.tls.key too, found none");
  EXPECT_EQ(faults("observer: {tls: {key: a}}"),
            "w.yaml:1: observer.tls.key: expected observer.tls.cert too, found none");
  EXPECT_EQ(faults("observer: {listen: '127.0.0.1:8080'}"),
            "w.yaml:1: observer.listen: expected another address than gateway.listen, found "
            "'127.0.0.1:8080' for both");
  EXPECT_EQ(faults("observer: {listen: '127.0.0.1:0'}\ngateway: {listen: '127.0.0.1:0'}"), "");
  EXPECT_THAT(faults("gateway: {upstream: 'http://h:1', upstream_ca: ca.pem}"),
              HasSubstr("expected an https gateway.upstream"));
}

TEST(Config, TokenComesFromItsFileAndIsNeverPrinted) {
  Folder folder;
  std::string const file = folder.write("token", "s3cret-value\n");
  Config const config = good("observer: {token_file: '" + file + "'}").config;
  EXPECT_EQ(config.observer.token, "s3cret-value");
  EXPECT_THAT(to_yaml(config), HasSubstr("token: '***'"));
  EXPECT_THAT(to_yaml(config), Not(HasSubstr("s3cret")));

  EXPECT_THAT(faults("observer: {token_file: /nowhere/token}"),
              HasSubstr("w.yaml:1: observer.token_file: expected a readable file"));
  EXPECT_THAT(faults("observer: {token_file: '" + folder.write("empty", "\n") + "'}"),
              HasSubstr("found an empty one"));
  EXPECT_THAT(faults("observer: {token: x, token_file: '" + file + "'}"),
              HasSubstr("expected only one of"));
}

TEST(Config, LoadReadsTheFileAndNamesAMissingOne) {
  Folder folder;
  Sources sources;
  sources.file = folder.write("w.yaml", "loops: 4\n");
  auto const loaded = load(sources);
  ASSERT_TRUE(loaded) << loaded.error().what;
  EXPECT_EQ(loaded->config.loops, 4u);
  sources.file += ".gone";
  auto const gone = load(sources);
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, base::Errc::not_found);
  EXPECT_THAT(gone.error().what, HasSubstr("w.yaml.gone"));
}

TEST(Config, PrintedFileReadsBackAsItself) {
  Config config = good(
                      "gateway: {upstream: 'http://h:1', drain: 1500ms, message_limit: 1000}\n"
                      "data: 'it''s here'\nlog: {loggers: {http: DEBUG, wscope: ERROR}}\n"
                      "trace: {ratio: 0.1}")
                      .config;
  std::string const printed = to_yaml(config);
  EXPECT_EQ(to_yaml(good(printed).config), printed);
  EXPECT_THAT(printed, HasSubstr("\n  drain: 1500ms\n"));
  EXPECT_THAT(printed, HasSubstr("\n  message_limit: 1000B\n"));
  EXPECT_THAT(printed, HasSubstr("\n  loggers: {http: DEBUG, wscope: ERROR}\n"));
}

TEST(Config, EveryKeyCanBeSetByFileEnvironmentAndFlagToItsPrintedDefault) {
  Config const defaults;
  for (Key const& key : keys()) {
    std::string const value = print(defaults, key);
    Config config;
    if (!value.empty()) {
      EXPECT_TRUE(assign(config, key, value)) << key.path << " " << value;
    }
    EXPECT_EQ(print(config, key), value) << key.path;
    EXPECT_EQ(find_key(key.path), &key);
    EXPECT_THAT(key_reference(), HasSubstr("| " + environment_name(key.path) + " |"));
  }
}

TEST(Version, IsThreeNumbers) {
  EXPECT_THAT(std::string(version()), testing::MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+"));
}

}  // namespace
}  // namespace wscope::app
