"""The query service over HTTP, and as an AWS Lambda function."""
