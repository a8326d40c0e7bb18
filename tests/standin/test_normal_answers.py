"""The stand-in for Gemini: what it answers by itself."""

import httpx

from sidecar.demo.standin import StandIn
from sidecar.demo.vocabulary import INVENTED
from tests.standin.scenes import PATHS, URL, items, request_body, tagging, vocabulary


async def test_the_normal_answer_tags_every_file_from_the_vocabulary(client: httpx.AsyncClient) -> None:
    answer = items(await client.post(URL, json=tagging(*PATHS)))
    assert [item["id"] for item in answer] == [1, 2, 3]
    for item in answer:
        assert item["genre"] in vocabulary("genre")
        assert 1 <= len(item["moods"]) <= 3 and set(item["moods"]) <= vocabulary("mood")
        assert 1 <= len(item["occasions"]) <= 2 and set(item["occasions"]) <= vocabulary("occasion")
        assert 3 <= len(item["keywords"]) <= 6 and set(item["keywords"]) <= vocabulary("keywords")
    assert {"element:water", "place:dungeon"} <= set(answer[0]["keywords"])
    assert answer == items(await client.post(URL, json=tagging(*PATHS)))


async def test_the_answer_has_the_fields_of_a_real_one(client: httpx.AsyncClient) -> None:
    first = (await client.post(URL, json=tagging(*PATHS))).json()
    again = (await client.post(URL, json=tagging(*PATHS))).json()
    assert set(first) == {"candidates", "usageMetadata", "modelVersion", "responseId"}
    assert first["modelVersion"] == "gemini-3.5-flash-lite"
    usage = first["usageMetadata"]
    assert usage["totalTokenCount"] == usage["promptTokenCount"] + usage["candidatesTokenCount"]
    assert "cachedContentTokenCount" not in usage
    assert 0 < again["usageMetadata"]["cachedContentTokenCount"] < usage["promptTokenCount"]


async def test_a_share_of_the_files_carries_invented_tags_and_the_mapping_knows_them(
    standin: StandIn, client: httpx.AsyncClient
) -> None:
    standin.hallucinate = 1.0
    answer = items(await client.post(URL, json=tagging(*(f"a/{n}.mp3" for n in range(60)))))
    invented = {tag for _, tag in INVENTED}
    for item in answer:
        assert invented & {item["genre"], *item["moods"], *item["occasions"], *item["keywords"]}
    asked = [{"type": kind, "tag": tag} for kind, tag in INVENTED] + [{"type": "mood", "tag": "never heard"}]
    mapped = items(await client.post(URL, json=request_body({"invalid_tags": asked})))
    assert [(each["type"], each["invalid"]) for each in mapped] == [(a["type"], a["tag"]) for a in asked]
    assert [each["valid"] for each in mapped] == [*INVENTED.values(), None]


async def test_the_journal_tells_what_arrived(standin: StandIn, client: httpx.AsyncClient) -> None:
    await client.post(URL, json=tagging(*PATHS), headers={"X-Goog-Api-Key": "k"})
    await client.post(URL, json=request_body({"invalid_tags": [{"type": "mood", "tag": "x"}]}))
    await client.post(URL, content=b"{not json")
    first, second, third = standin.journal
    assert (first.number, first.method, first.path, first.kind) == (1, "POST", URL, "tagging")
    assert [file["path"] for file in first.files] == PATHS
    assert first.system == "Tag these sounds."
    assert first.json["generationConfig"] == {"responseMimeType": "application/json"}
    assert first.headers["x-goog-api-key"] == "k"
    assert (second.kind, second.invalid_tags) == ("mapping", [{"type": "mood", "tag": "x"}])
    assert (third.kind, third.files) == ("other", [])
    assert [received.status for received in standin.journal] == [200, 200, 200]
    assert first.at <= second.at <= third.at


async def test_models_are_listed_and_other_paths_are_not_found(client: httpx.AsyncClient) -> None:
    listed = (await client.get("/v1beta/models?pageSize=5")).json()["models"]
    assert "models/gemini-3.5-flash-lite" in [model["name"] for model in listed]
    one = (await client.get("/v1/models/gemini-3.8-flash")).json()
    assert one["name"] == "models/gemini-3.8-flash"
    for method, path in (("GET", "/v2/models"), ("POST", "/v1/models"), ("GET", URL), ("POST", "/")):
        response = await client.request(method, path)
        assert response.status_code == 404, path
        assert response.json()["error"]["status"] == "NOT_FOUND"


async def test_another_key_is_refused_as_google_does(standin: StandIn, client: httpx.AsyncClient) -> None:
    standin.api_key = "right"
    for headers in ({}, {"x-goog-api-key": "wrong"}):
        response = await client.post(URL, json=tagging(*PATHS), headers=headers)
        assert response.status_code == 400
        assert response.json()["error"]["details"][0]["reason"] == "API_KEY_INVALID"
    response = await client.post(URL, json=tagging(*PATHS), headers={"x-goog-api-key": "right"})
    assert response.status_code == 200
