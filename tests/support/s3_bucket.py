"""Run by the trainer's Python, which has a client for S3: put an object into a bucket, which is made where it lacks.

usage: python -m support.s3_bucket ENDPOINT BUCKET KEY FILE [--public], with credentials in the environment
"""

import json
import sys

import boto3  # type: ignore[import-untyped]


def main() -> None:
    endpoint, bucket, key, file, *options = sys.argv[1:]
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    if bucket not in {found["Name"] for found in client.list_buckets()["Buckets"]}:
        client.create_bucket(Bucket=bucket)
    client.upload_file(file, bucket, key)
    if "--public" in options:
        statement = {
            "Effect": "Allow",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": f"arn:aws:s3:::{bucket}/*",
        }
        client.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))


if __name__ == "__main__":
    main()
