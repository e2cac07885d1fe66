"""RunPod: pods by its REST API v2, and the balance by GraphQL, which alone has it."""
