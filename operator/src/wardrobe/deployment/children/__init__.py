"""What an AdapterDeployment is made of: one file per thing that is built."""
