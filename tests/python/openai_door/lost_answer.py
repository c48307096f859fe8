"""An order whose first answer is lost on its way: the client sends it again by itself, without any key."""

import openai


def an_order_is_sent_again(it):
    client = openai.OpenAI(base_url=it.base_url, api_key="sk-any", max_retries=2)
    video = client.videos.create_and_poll(prompt="a fox that is paid for once", model="sora-2", poll_interval_ms=50)
    assert video.status == "completed", video


CASES = [an_order_is_sent_again]
