#pragma once

#include <string>

namespace wscope::net {

// A self-signed certificate made for one test: PEM files in a folder of the test's own, valid for
// an hour, for "localhost" and 127.0.0.1 unless told otherwise.
struct TestCertificate {
  std::string cert_file;
  std::string key_file;
};

// Writes <name>.crt and <name>.key. Stops the program if OpenSSL does not do its part.
TestCertificate make_test_certificate(std::string const& folder, std::string const& name,
                                      std::string const& alt_names = "DNS:localhost,IP:127.0.0.1");

// A new folder under the system's temporary one, removed with what is in it at the end.
class TestFolder {
 public:
  TestFolder();
  ~TestFolder();
  TestFolder(TestFolder const&) = delete;
  TestFolder& operator=(TestFolder const&) = delete;
  std::string const& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace wscope::net
